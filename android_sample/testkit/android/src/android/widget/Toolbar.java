package android.widget;

import android.view.Menu;
import android.view.MenuItem;
import android.view.ViewGroup;

public class Toolbar extends ViewGroup {
    public CharSequence getTitle() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setTitle(CharSequence title) {
        throw new UnsupportedOperationException("a stub");
    }

    public CharSequence getSubtitle() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setSubtitle(CharSequence subtitle) {
        throw new UnsupportedOperationException("a stub");
    }

    public Menu getMenu() {
        throw new UnsupportedOperationException("a stub");
    }

    public void inflateMenu(int resId) {
        throw new UnsupportedOperationException("a stub");
    }

    public void setOnMenuItemClickListener(OnMenuItemClickListener listener) {
        throw new UnsupportedOperationException("a stub");
    }

    public interface OnMenuItemClickListener {
        boolean onMenuItemClick(MenuItem item);
    }
}
