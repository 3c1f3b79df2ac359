package android.content;

import androidx.annotation.Nullable;
import java.util.Set;

public interface SharedPreferences {
    @Nullable
    String getString(String key, @Nullable String defValue);

    @Nullable
    Set<String> getStringSet(String key, @Nullable Set<String> defValues);

    boolean getBoolean(String key, boolean defValue);

    Editor edit();

    interface Editor {
        Editor putString(String key, @Nullable String value);

        Editor putStringSet(String key, @Nullable Set<String> values);

        Editor putBoolean(String key, boolean value);

        boolean commit();

        void apply();
    }
}
