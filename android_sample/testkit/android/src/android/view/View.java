package android.view;

import android.content.Context;
import androidx.annotation.Nullable;

public class View {
    public static final int VISIBLE = 0;
    public static final int GONE = 8;

    public final Context getContext() {
        throw new UnsupportedOperationException("a stub");
    }

    public final <T extends View> T findViewById(int id) {
        throw new UnsupportedOperationException("a stub");
    }

    public int getVisibility() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setVisibility(int visibility) {
        throw new UnsupportedOperationException("a stub");
    }

    public boolean isEnabled() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setEnabled(boolean enabled) {
        throw new UnsupportedOperationException("a stub");
    }

    public CharSequence getContentDescription() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setContentDescription(CharSequence contentDescription) {
        throw new UnsupportedOperationException("a stub");
    }

    public void setOnClickListener(@Nullable OnClickListener l) {
        throw new UnsupportedOperationException("a stub");
    }

    public interface OnClickListener {
        void onClick(View v);
    }
}
