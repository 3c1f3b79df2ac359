package com.google.ai.edge.litertlm

import com.sun.jna.Callback
import com.sun.jna.Library
import com.sun.jna.Native
import com.sun.jna.Pointer

/**
 * The part of LiteRT-LM's C API that the double needs, as exported by `liblitert-lm.so` of the pip
 * package `litert-lm-api`. Names are the library's; pointers are opaque and freed by `..._delete`.
 */
@Suppress("FunctionName", "TooManyFunctions")
internal interface LiteRtLmLibrary : Library {
    fun litert_lm_set_min_log_level(level: Int)
    fun litert_lm_get_last_error_code(): Int
    fun litert_lm_get_last_error_message(): String?

    fun litert_lm_engine_settings_create(
        path: String,
        backend: String,
        visionBackend: String?,
        audioBackend: String?,
    ): Pointer?
    fun litert_lm_engine_settings_delete(settings: Pointer)
    fun litert_lm_engine_settings_enable_benchmark(settings: Pointer)
    fun litert_lm_engine_settings_set_num_threads(settings: Pointer, count: Int)
    fun litert_lm_engine_settings_set_audio_num_threads(settings: Pointer, count: Int)
    fun litert_lm_engine_settings_set_max_num_images(settings: Pointer, count: Int)
    fun litert_lm_engine_settings_set_max_num_tokens(settings: Pointer, count: Int)
    fun litert_lm_engine_settings_set_cache_dir(settings: Pointer, path: String)
    fun litert_lm_engine_settings_set_enable_speculative_decoding(settings: Pointer, on: Boolean)
    fun litert_lm_engine_create(settings: Pointer): Pointer?
    fun litert_lm_engine_delete(engine: Pointer)

    fun litert_lm_sampler_params_create(type: Int): Pointer
    fun litert_lm_sampler_params_delete(params: Pointer)
    fun litert_lm_sampler_params_set_top_k(params: Pointer, value: Int)
    fun litert_lm_sampler_params_set_top_p(params: Pointer, value: Float)
    fun litert_lm_sampler_params_set_temperature(params: Pointer, value: Float)
    fun litert_lm_sampler_params_set_seed(params: Pointer, value: Int)

    fun litert_lm_session_config_create(): Pointer
    fun litert_lm_session_config_delete(config: Pointer)
    fun litert_lm_session_config_set_enable_speculative_decoding(config: Pointer, on: Boolean)
    fun litert_lm_session_config_set_sampler_params(config: Pointer, params: Pointer)
    fun litert_lm_session_config_set_max_output_tokens(config: Pointer, count: Int)

    fun litert_lm_conversation_config_create(): Pointer
    fun litert_lm_conversation_config_delete(config: Pointer)
    fun litert_lm_conversation_config_set_session_config(config: Pointer, session: Pointer)
    fun litert_lm_conversation_config_set_messages(config: Pointer, json: String)
    fun litert_lm_conversation_create(engine: Pointer, config: Pointer): Pointer?
    fun litert_lm_conversation_delete(conversation: Pointer)
    fun litert_lm_conversation_send_message_stream(
        conversation: Pointer,
        messageJson: String,
        extraContextJson: String,
        optionalArgs: Pointer?,
        callback: StreamCallback,
        userData: Pointer?,
    ): Int
    fun litert_lm_conversation_cancel_process(conversation: Pointer)
    fun litert_lm_conversation_get_token_count(conversation: Pointer): Int
    fun litert_lm_conversation_get_benchmark_info(conversation: Pointer): Pointer?

    fun litert_lm_stream_chunk_get_text(chunk: Pointer): String?
    fun litert_lm_stream_chunk_get_error(chunk: Pointer): String?
    fun litert_lm_stream_chunk_is_final(chunk: Pointer): Byte

    fun litert_lm_benchmark_info_delete(info: Pointer)
    fun litert_lm_benchmark_info_get_total_init_time_in_second(info: Pointer): Double
    fun litert_lm_benchmark_info_get_time_to_first_token(info: Pointer): Double
    fun litert_lm_benchmark_info_get_num_prefill_turns(info: Pointer): Int
    fun litert_lm_benchmark_info_get_num_decode_turns(info: Pointer): Int
    fun litert_lm_benchmark_info_get_prefill_token_count_at(info: Pointer, turn: Int): Int
    fun litert_lm_benchmark_info_get_decode_token_count_at(info: Pointer, turn: Int): Int
    fun litert_lm_benchmark_info_get_prefill_tokens_per_sec_at(info: Pointer, turn: Int): Double
    fun litert_lm_benchmark_info_get_decode_tokens_per_sec_at(info: Pointer, turn: Int): Double

    fun interface StreamCallback : Callback {
        fun invoke(userData: Pointer?, chunk: Pointer)
    }

    companion object {
        /** Loaded at first use from the path in the system property `litertlm.library`. */
        val native: LiteRtLmLibrary by lazy {
            val path = checkNotNull(System.getProperty("litertlm.library")) {
                "the system property litertlm.library must name liblitert-lm.so of litert-lm-api"
            }
            Native.load(path, LiteRtLmLibrary::class.java, mapOf(Library.OPTION_STRING_ENCODING to "UTF-8"))
        }
    }
}
