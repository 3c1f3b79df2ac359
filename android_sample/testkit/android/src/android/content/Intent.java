package android.content;

import android.net.Uri;
import androidx.annotation.Nullable;

public class Intent {
    public static final String ACTION_OPEN_DOCUMENT = "android.intent.action.OPEN_DOCUMENT";
    public static final String CATEGORY_OPENABLE = "android.intent.category.OPENABLE";
    public static final String EXTRA_MIME_TYPES = "android.intent.extra.MIME_TYPES";

    public Intent(String action) {
        throw new UnsupportedOperationException("a stub");
    }

    public Intent(Context packageContext, Class<?> cls) {
        throw new UnsupportedOperationException("a stub");
    }

    public Intent addCategory(String category) {
        throw new UnsupportedOperationException("a stub");
    }

    public Intent setType(@Nullable String type) {
        throw new UnsupportedOperationException("a stub");
    }

    public Intent putExtra(String name, @Nullable String[] value) {
        throw new UnsupportedOperationException("a stub");
    }

    @Nullable
    public Uri getData() {
        throw new UnsupportedOperationException("a stub");
    }
}
