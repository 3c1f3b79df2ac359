package android.text.format;

import android.content.Context;
import androidx.annotation.Nullable;

public final class Formatter {
    public static String formatShortFileSize(@Nullable Context context, long sizeBytes) {
        throw new UnsupportedOperationException("a stub");
    }
}
