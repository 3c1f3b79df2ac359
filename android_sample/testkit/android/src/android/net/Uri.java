package android.net;

import androidx.annotation.Nullable;

public abstract class Uri {
    @Nullable
    public abstract String getLastPathSegment();
}
