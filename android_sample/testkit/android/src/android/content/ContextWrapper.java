package android.content;

import java.io.File;

public class ContextWrapper extends Context {
    @Override
    public Context getApplicationContext() {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public int checkSelfPermission(String permission) {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public ContentResolver getContentResolver() {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public SharedPreferences getSharedPreferences(String name, int mode) {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public File getFilesDir() {
        throw new UnsupportedOperationException("a stub");
    }

    @Override
    public File getCacheDir() {
        throw new UnsupportedOperationException("a stub");
    }
}
