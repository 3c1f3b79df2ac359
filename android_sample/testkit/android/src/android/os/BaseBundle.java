package android.os;

import androidx.annotation.Nullable;
import java.util.Set;

public class BaseBundle {
    BaseBundle() {}

    public Set<String> keySet() {
        throw new UnsupportedOperationException("a stub");
    }

    @Nullable
    public String getString(@Nullable String key) {
        throw new UnsupportedOperationException("a stub");
    }

    public void putString(@Nullable String key, @Nullable String value) {
        throw new UnsupportedOperationException("a stub");
    }
}
