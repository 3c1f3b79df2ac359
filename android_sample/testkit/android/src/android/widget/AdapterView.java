package android.widget;

import android.view.View;
import android.view.ViewGroup;

public abstract class AdapterView<T extends Adapter> extends ViewGroup {
    public abstract T getAdapter();

    public abstract void setAdapter(T adapter);

    public View getEmptyView() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setEmptyView(View emptyView) {
        throw new UnsupportedOperationException("a stub");
    }
}
