package android.app;

import android.content.Context;
import android.content.DialogInterface;

public class AlertDialog extends Dialog {
    public static class Builder {
        public Builder(Context context) {
            throw new UnsupportedOperationException("a stub");
        }

        public Builder setTitle(int titleId) {
            throw new UnsupportedOperationException("a stub");
        }

        public Builder setItems(CharSequence[] items, DialogInterface.OnClickListener listener) {
            throw new UnsupportedOperationException("a stub");
        }

        public AlertDialog show() {
            throw new UnsupportedOperationException("a stub");
        }
    }
}
