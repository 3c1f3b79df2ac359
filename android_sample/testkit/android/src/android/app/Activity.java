package android.app;

import android.content.Intent;
import android.os.Bundle;
import android.view.ContextThemeWrapper;
import android.view.View;
import androidx.annotation.Nullable;

public class Activity extends ContextThemeWrapper {
    public static final int RESULT_OK = -1;

    protected void onCreate(@Nullable Bundle savedInstanceState) {
        throw new UnsupportedOperationException("a stub");
    }

    protected void onStart() {
        throw new UnsupportedOperationException("a stub");
    }

    protected void onStop() {
        throw new UnsupportedOperationException("a stub");
    }

    protected void onActivityResult(int requestCode, int resultCode, @Nullable Intent data) {
        throw new UnsupportedOperationException("a stub");
    }

    public final void requestPermissions(String[] permissions, int requestCode) {
        throw new UnsupportedOperationException("a stub");
    }

    public void onRequestPermissionsResult(int requestCode, String[] permissions, int[] grantResults) {
        throw new UnsupportedOperationException("a stub");
    }

    public final Application getApplication() {
        throw new UnsupportedOperationException("a stub");
    }

    public void setContentView(int layoutResID) {
        throw new UnsupportedOperationException("a stub");
    }

    public <T extends View> T findViewById(int id) {
        throw new UnsupportedOperationException("a stub");
    }

    public void startActivity(Intent intent) {
        throw new UnsupportedOperationException("a stub");
    }

    public void startActivityForResult(Intent intent, int requestCode) {
        throw new UnsupportedOperationException("a stub");
    }
}
