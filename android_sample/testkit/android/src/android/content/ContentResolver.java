package android.content;

import android.database.Cursor;
import android.net.Uri;
import androidx.annotation.Nullable;
import java.io.FileNotFoundException;
import java.io.InputStream;

public abstract class ContentResolver {
    @Nullable
    public final Cursor query(
            Uri uri,
            @Nullable String[] projection,
            @Nullable String selection,
            @Nullable String[] selectionArgs,
            @Nullable String sortOrder) {
        throw new UnsupportedOperationException("a stub");
    }

    @Nullable
    public final String getType(Uri url) {
        throw new UnsupportedOperationException("a stub");
    }

    @Nullable
    public final InputStream openInputStream(Uri uri) throws FileNotFoundException {
        throw new UnsupportedOperationException("a stub");
    }
}
