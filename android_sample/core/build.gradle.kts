plugins {
    alias(libs.plugins.kotlin.jvm)
}

kotlin {
    jvmToolchain(libs.versions.jdk.get().toInt())
    compilerOptions { allWarningsAsErrors = true }
}

dependencies {
    api(libs.coroutines)
    api(libs.gson) // AbReport hands JSON out
    testImplementation(libs.kotlin.test.junit)
    testImplementation(libs.junit)
}
