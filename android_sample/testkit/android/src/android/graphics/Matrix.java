package android.graphics;

public class Matrix {
    public Matrix() {
        throw new UnsupportedOperationException("a stub");
    }

    public boolean postRotate(float degrees) {
        throw new UnsupportedOperationException("a stub");
    }
}
