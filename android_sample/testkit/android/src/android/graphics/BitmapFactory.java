package android.graphics;

public class BitmapFactory {
    public static Bitmap decodeFile(String pathName, Options opts) {
        throw new UnsupportedOperationException("a stub");
    }

    public static class Options {
        public boolean inJustDecodeBounds;
        public int inSampleSize;
        public int outWidth;
        public int outHeight;

        public Options() {
            throw new UnsupportedOperationException("a stub");
        }
    }
}
