package android.widget;

import android.view.View;

public class ProgressBar extends View {
    public int getProgress() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setProgress(int progress) {
        throw new UnsupportedOperationException("a stub");
    }

    public boolean isIndeterminate() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setIndeterminate(boolean indeterminate) {
        throw new UnsupportedOperationException("a stub");
    }
}
