package android.content;

import java.io.File;

public abstract class Context {
    public static final int MODE_PRIVATE = 0;

    public abstract Context getApplicationContext();

    public abstract ContentResolver getContentResolver();

    public abstract SharedPreferences getSharedPreferences(String name, int mode);

    public abstract File getFilesDir();

    public abstract File getCacheDir();

    public abstract int checkSelfPermission(String permission);

    public final String getString(int resId) {
        throw new UnsupportedOperationException("a stub");
    }

    public final String getString(int resId, Object... formatArgs) {
        throw new UnsupportedOperationException("a stub");
    }
}
