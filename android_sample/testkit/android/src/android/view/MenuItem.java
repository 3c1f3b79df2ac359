package android.view;

public interface MenuItem {
    int getItemId();

    boolean isEnabled();

    MenuItem setEnabled(boolean enabled);
}
