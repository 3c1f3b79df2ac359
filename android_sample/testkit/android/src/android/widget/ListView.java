package android.widget;

public class ListView extends AbsListView {
    @Override
    public ListAdapter getAdapter() {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public void setAdapter(ListAdapter adapter) {
        throw new UnsupportedOperationException("a stub");
    }
}
