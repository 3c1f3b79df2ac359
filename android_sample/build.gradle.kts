// AGP 9 compiles Kotlin itself; the Kotlin plugin is only for the plain module.
plugins {
    alias(libs.plugins.android.application) apply false
    alias(libs.plugins.android.library) apply false
    alias(libs.plugins.kotlin.jvm) apply false
}
