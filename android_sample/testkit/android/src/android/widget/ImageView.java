package android.widget;

import android.view.View;

public class ImageView extends View {
    public void setImageResource(int resId) {
        throw new UnsupportedOperationException("a stub");
    }
}
