package android.widget;

public class RadioGroup extends LinearLayout {
    public void check(int id) {
        throw new UnsupportedOperationException("a stub");
    }

    public void setOnCheckedChangeListener(OnCheckedChangeListener listener) {
        throw new UnsupportedOperationException("a stub");
    }

    public interface OnCheckedChangeListener {
        void onCheckedChanged(RadioGroup group, int checkedId);
    }
}
