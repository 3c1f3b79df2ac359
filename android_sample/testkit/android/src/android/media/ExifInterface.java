package android.media;

import java.io.IOException;

public class ExifInterface {
    public static final int ORIENTATION_NORMAL = 1;
    public static final int ORIENTATION_ROTATE_180 = 3;
    public static final int ORIENTATION_ROTATE_90 = 6;
    public static final int ORIENTATION_ROTATE_270 = 8;
    public static final String TAG_ORIENTATION = "Orientation";

    public ExifInterface(String filename) throws IOException {
        throw new UnsupportedOperationException("a stub");
    }

    public int getAttributeInt(String tag, int defaultValue) {
        throw new UnsupportedOperationException("a stub");
    }
}
