package android.graphics;

import androidx.annotation.Nullable;

public class Canvas {
    public Canvas(Bitmap bitmap) {
        throw new UnsupportedOperationException("a stub");
    }

    public void drawColor(int color) {
        throw new UnsupportedOperationException("a stub");
    }

    public void drawBitmap(Bitmap bitmap, float left, float top, @Nullable Paint paint) {
        throw new UnsupportedOperationException("a stub");
    }
}
