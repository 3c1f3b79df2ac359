package android.view;

import android.content.Context;
import androidx.annotation.Nullable;

public abstract class LayoutInflater {
    public static LayoutInflater from(Context context) {
        throw new UnsupportedOperationException("a stub");
    }

    public View inflate(int resource, @Nullable ViewGroup root, boolean attachToRoot) {
        throw new UnsupportedOperationException("a stub");
    }
}
