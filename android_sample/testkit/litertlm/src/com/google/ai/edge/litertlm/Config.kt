package com.google.ai.edge.litertlm

sealed class Backend(val name: String) {
    data class CPU(val threadCount: Int? = null) : Backend("cpu")

    class GPU : Backend("gpu")
}

data class EngineConfig(
    val modelPath: String,
    val backend: Backend = Backend.CPU(),
    val visionBackend: Backend? = null,
    val audioBackend: Backend? = null,
    val maxNumTokens: Int? = null,
    val maxNumImages: Int? = null,
    val cacheDir: String? = null,
)

data class SamplerConfig(val topK: Int, val topP: Double, val temperature: Double, val seed: Int = 0)

data class ConversationConfig(
    val initialMessages: List<Message> = listOf(),
    val samplerConfig: SamplerConfig? = null,
    val maxOutputToken: Int? = null,
    val enableSpeculativeDecoding: Boolean? = null,
)

data class BenchmarkInfo(
    val initTimeInSecond: Double,
    val timeToFirstTokenInSecond: Double,
    val lastPrefillTokenCount: Int,
    val lastDecodeTokenCount: Int,
    val lastPrefillTokensPerSecond: Double,
    val lastDecodeTokensPerSecond: Double,
)

class LiteRtLmJniException(message: String) : RuntimeException(message)

enum class LogSeverity(val severity: Int) {
    VERBOSE(0),
    DEBUG(1),
    INFO(2),
    WARNING(3),
    ERROR(4),
    FATAL(5),
    INFINITY(1000),
}

@RequiresOptIn(level = RequiresOptIn.Level.ERROR)
@Retention(AnnotationRetention.BINARY)
@Target(AnnotationTarget.CLASS, AnnotationTarget.FUNCTION)
annotation class ExperimentalApi

/** Process-wide switches, read when an engine is initialised. */
@ExperimentalApi
object ExperimentalFlags {
    var enableBenchmark: Boolean = false
    var enableSpeculativeDecoding: Boolean? = null
}
