package android.view;

public abstract class ViewGroup extends View {
    public void addView(View child) {
        throw new UnsupportedOperationException("a stub");
    }

    public void removeAllViews() {
        throw new UnsupportedOperationException("a stub");
    }
}
