package android.widget;

import androidx.annotation.Nullable;

public abstract class CompoundButton extends Button {
    public boolean isChecked() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setChecked(boolean checked) {
        throw new UnsupportedOperationException("a stub");
    }

    public void setOnCheckedChangeListener(@Nullable OnCheckedChangeListener listener) {
        throw new UnsupportedOperationException("a stub");
    }

    public interface OnCheckedChangeListener {
        void onCheckedChanged(CompoundButton buttonView, boolean isChecked);
    }
}
