package androidx.annotation;

import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;

/** Kotlin knows this annotation by its name, and the stub test looks for it. */
@Retention(RetentionPolicy.RUNTIME)
public @interface Nullable {}
