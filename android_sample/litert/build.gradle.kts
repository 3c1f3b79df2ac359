plugins {
    alias(libs.plugins.android.library)
}

android {
    namespace = "com.example.mtpchat.litert"
    compileSdk = libs.versions.compileSdk.get().toInt()
    defaultConfig { minSdk = libs.versions.minSdk.get().toInt() }
}

kotlin {
    jvmToolchain(libs.versions.jdk.get().toInt())
    compilerOptions { allWarningsAsErrors = true }
}

dependencies {
    api(project(":core"))
    implementation(libs.litertlm)
}
