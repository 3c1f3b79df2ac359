package android.database;

import java.io.Closeable;

public interface Cursor extends Closeable {
    boolean moveToFirst();

    String getString(int columnIndex);

    long getLong(int columnIndex);

    boolean isNull(int columnIndex);

    @Override
    void close();
}
