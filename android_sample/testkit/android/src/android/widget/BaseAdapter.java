package android.widget;

public abstract class BaseAdapter implements ListAdapter {
    public void notifyDataSetChanged() {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public int getItemViewType(int position) {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public int getViewTypeCount() {
        throw new UnsupportedOperationException("a stub");
    }
}
