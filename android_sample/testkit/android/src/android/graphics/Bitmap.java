package android.graphics;

import androidx.annotation.Nullable;
import java.io.OutputStream;

public final class Bitmap {
    public static Bitmap createBitmap(int width, int height, Config config) {
        throw new UnsupportedOperationException("a stub");
    }

    public static Bitmap createBitmap(
            Bitmap source, int x, int y, int width, int height, @Nullable Matrix m, boolean filter) {
        throw new UnsupportedOperationException("a stub");
    }

    public boolean compress(CompressFormat format, int quality, OutputStream stream) {
        throw new UnsupportedOperationException("a stub");
    }

    public int getWidth() {
        throw new UnsupportedOperationException("a stub");
    }

    public int getHeight() {
        throw new UnsupportedOperationException("a stub");
    }

    public boolean hasAlpha() {
        throw new UnsupportedOperationException("a stub");
    }

    public enum CompressFormat {
        JPEG
    }

    public enum Config {
        ARGB_8888
    }
}
