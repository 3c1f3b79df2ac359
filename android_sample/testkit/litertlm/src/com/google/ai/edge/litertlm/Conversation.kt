package com.google.ai.edge.litertlm

import com.google.gson.JsonParser
import com.sun.jna.Pointer
import java.util.concurrent.CancellationException
import java.util.concurrent.ConcurrentHashMap
import java.util.concurrent.atomic.AtomicBoolean

private val native get() = LiteRtLmLibrary.native

class Conversation internal constructor(private val handle: Pointer) : AutoCloseable {
    private val alive = AtomicBoolean(true)

    val isAlive: Boolean get() = alive.get()

    fun sendMessageAsync(message: Message, callback: MessageCallback) {
        checkAlive()
        val bridge = Bridge(callback)
        running += bridge
        val status = native.litert_lm_conversation_send_message_stream(
            handle, message.toJson().toString(), "{}", null, bridge, null,
        )
        if (status != 0) {
            running -= bridge
            throw lastError()
        }
    }

    fun cancelProcess() {
        checkAlive()
        native.litert_lm_conversation_cancel_process(handle)
    }

    fun getTokenCount(): Int {
        checkAlive()
        return native.litert_lm_conversation_get_token_count(handle).also { if (it < 0) throw lastError() }
    }

    @ExperimentalApi
    fun getBenchmarkInfo(): BenchmarkInfo {
        checkAlive()
        val info = native.litert_lm_conversation_get_benchmark_info(handle) ?: throw lastError()
        val prefill = native.litert_lm_benchmark_info_get_num_prefill_turns(info) - 1
        val decode = native.litert_lm_benchmark_info_get_num_decode_turns(info) - 1
        val read = { turn: Int, count: (Pointer, Int) -> Number -> if (turn < 0) 0 else count(info, turn) }
        return BenchmarkInfo(
            native.litert_lm_benchmark_info_get_total_init_time_in_second(info),
            native.litert_lm_benchmark_info_get_time_to_first_token(info),
            read(prefill, native::litert_lm_benchmark_info_get_prefill_token_count_at).toInt(),
            read(decode, native::litert_lm_benchmark_info_get_decode_token_count_at).toInt(),
            read(prefill, native::litert_lm_benchmark_info_get_prefill_tokens_per_sec_at).toDouble(),
            read(decode, native::litert_lm_benchmark_info_get_decode_tokens_per_sec_at).toDouble(),
        ).also { native.litert_lm_benchmark_info_delete(info) }
    }

    override fun close() {
        check(alive.compareAndSet(true, false)) { "Conversation is closed already." }
        native.litert_lm_conversation_delete(handle)
    }

    private fun checkAlive() = check(isAlive) { "Conversation is not alive." }

    /** Turns the C API's chunks into calls, as the JNI layer of the real library does. */
    private class Bridge(private val callback: MessageCallback) : LiteRtLmLibrary.StreamCallback {
        override fun invoke(userData: Pointer?, chunk: Pointer) {
            val error = native.litert_lm_stream_chunk_get_error(chunk)
            val final = native.litert_lm_stream_chunk_is_final(chunk) != 0.toByte()
            when {
                error == null -> native.litert_lm_stream_chunk_get_text(chunk)?.let(::message)
                "CANCELLED" in error -> callback.onError(CancellationException(error))
                else -> callback.onError(LiteRtLmJniException(error))
            }
            if (error == null && final) callback.onDone()
            if (error != null || final) running -= this
        }

        private fun message(json: String) {
            if (json.isEmpty()) return
            val contents = JsonParser.parseString(json).asJsonObject.getAsJsonArray("content") ?: return
            val text = contents.map { it.asJsonObject }.filter { it["type"].asString == "text" }
                .joinToString("") { it["text"].asString }
            callback.onMessage(Message.model(text))
        }
    }

    private companion object {
        /** Native code alone does not keep a callback from being collected. */
        val running: MutableSet<Any> = ConcurrentHashMap.newKeySet()
    }
}
