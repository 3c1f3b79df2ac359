package com.google.ai.edge.litertlm

import com.google.gson.JsonArray
import com.sun.jna.Pointer

private val native get() = LiteRtLmLibrary.native

/** The sampler type of the C API that takes top-k, top-p and temperature. */
private const val SAMPLER_TOP_P = 2

class Engine(val engineConfig: EngineConfig) : AutoCloseable {
    private var handle: Pointer? = null

    fun isInitialized(): Boolean = handle != null

    @Synchronized
    @OptIn(ExperimentalApi::class)
    fun initialize() {
        check(!isInitialized()) { "Engine is already initialized." }
        val settings = native.litert_lm_engine_settings_create(
            engineConfig.modelPath,
            engineConfig.backend.name,
            engineConfig.visionBackend?.name,
            engineConfig.audioBackend?.name,
        ) ?: throw lastError()
        if (ExperimentalFlags.enableBenchmark) native.litert_lm_engine_settings_enable_benchmark(settings)
        ExperimentalFlags.enableSpeculativeDecoding?.let {
            native.litert_lm_engine_settings_set_enable_speculative_decoding(settings, it)
        }
        (engineConfig.backend as? Backend.CPU)?.threadCount?.let {
            native.litert_lm_engine_settings_set_num_threads(settings, it)
        }
        (engineConfig.audioBackend as? Backend.CPU)?.threadCount?.let {
            native.litert_lm_engine_settings_set_audio_num_threads(settings, it)
        }
        engineConfig.maxNumImages?.let {
            native.litert_lm_engine_settings_set_max_num_images(settings, it)
        }
        engineConfig.maxNumTokens?.let {
            native.litert_lm_engine_settings_set_max_num_tokens(settings, it)
        }
        engineConfig.cacheDir?.let { native.litert_lm_engine_settings_set_cache_dir(settings, it) }
        handle = native.litert_lm_engine_create(settings)
        native.litert_lm_engine_settings_delete(settings)
        if (handle == null) throw lastError()
    }

    @Synchronized
    override fun close() {
        native.litert_lm_engine_delete(initialized())
        handle = null
    }

    @Synchronized
    fun createConversation(conversationConfig: ConversationConfig = ConversationConfig()): Conversation {
        val engine = initialized()
        val session = sessionConfig(conversationConfig)
        val config = native.litert_lm_conversation_config_create()
        native.litert_lm_conversation_config_set_session_config(config, session)
        native.litert_lm_session_config_delete(session)
        val messages = JsonArray().apply { conversationConfig.initialMessages.forEach { add(it.toJson()) } }
        native.litert_lm_conversation_config_set_messages(config, messages.toString())
        val conversation = native.litert_lm_conversation_create(engine, config)
        native.litert_lm_conversation_config_delete(config)
        return Conversation(conversation ?: throw lastError())
    }

    private fun sessionConfig(config: ConversationConfig): Pointer {
        val session = native.litert_lm_session_config_create()
        config.enableSpeculativeDecoding?.let {
            native.litert_lm_session_config_set_enable_speculative_decoding(session, it)
        }
        config.maxOutputToken?.let {
            native.litert_lm_session_config_set_max_output_tokens(session, it)
        }
        config.samplerConfig?.let { sampler ->
            val params = native.litert_lm_sampler_params_create(SAMPLER_TOP_P)
            native.litert_lm_sampler_params_set_top_k(params, sampler.topK)
            native.litert_lm_sampler_params_set_top_p(params, sampler.topP.toFloat())
            native.litert_lm_sampler_params_set_temperature(params, sampler.temperature.toFloat())
            native.litert_lm_sampler_params_set_seed(params, sampler.seed)
            native.litert_lm_session_config_set_sampler_params(session, params)
            native.litert_lm_sampler_params_delete(params)
        }
        return session
    }

    private fun initialized(): Pointer = checkNotNull(handle) { "Engine is not initialized." }

    companion object {
        fun setNativeMinLogSeverity(level: LogSeverity) {
            native.litert_lm_set_min_log_level(level.severity)
        }
    }
}

internal fun lastError() = LiteRtLmJniException(
    "Status Code: ${native.litert_lm_get_last_error_code()}. " +
        "Message: ${native.litert_lm_get_last_error_message()}",
)
