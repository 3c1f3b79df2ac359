// AGP 9 compiles Kotlin itself. The Kotlin plugin is for the plain module, and its presence here raises the
// compiler that AGP uses to the same version.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
