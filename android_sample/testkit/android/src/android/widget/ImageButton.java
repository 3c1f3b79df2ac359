package android.widget;

public class ImageButton extends ImageView {}
