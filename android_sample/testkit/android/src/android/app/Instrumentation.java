package android.app;

import android.content.Context;
import android.os.Bundle;

public class Instrumentation {
    public void onCreate(Bundle arguments) {
        throw new UnsupportedOperationException("a stub");
    }

    public void onStart() {
        throw new UnsupportedOperationException("a stub");
    }

    public void start() {
        throw new UnsupportedOperationException("a stub");
    }

    public Context getTargetContext() {
        throw new UnsupportedOperationException("a stub");
    }

    public void finish(int resultCode, Bundle results) {
        throw new UnsupportedOperationException("a stub");
    }
}
