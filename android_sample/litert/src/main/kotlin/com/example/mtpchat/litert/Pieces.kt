package com.example.mtpchat.litert

import com.google.ai.edge.litertlm.Conversation
import com.google.ai.edge.litertlm.Message
import com.google.ai.edge.litertlm.MessageCallback
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeoutOrNull

/** How the engine words what its API has no code for. */
private const val CACHE_FULL = "Max number of tokens reached"
private const val CANCEL_AGAIN_MILLIS = 200L

/** One reply as it comes in from the engine's thread. */
internal class Pieces(private val conversation: Conversation, private val asked: Message) : MessageCallback {
    private val channel = Channel<String>(Channel.UNLIMITED)
    var count = 0
        private set
    var full = false
        private set

    override fun onMessage(message: Message) {
        channel.trySend(message.toString())
    }

    override fun onDone() {
        channel.close()
    }

    override fun onError(throwable: Throwable) {
        full = CACHE_FULL in throwable.message.orEmpty()
        channel.close(throwable.takeUnless { full })
    }

    suspend fun forEach(block: suspend (String) -> Unit) {
        conversation.sendMessageAsync(asked, this)
        try {
            for (piece in channel) {
                if (piece.isEmpty()) continue
                count++
                block(piece)
            }
        } catch (error: Throwable) { // most of all: the collector went away
            withContext(NonCancellable) { stop() }
            throw error
        }
    }

    /**
     * Leaving the channel alone does not stop the engine, and a conversation must not be closed under
     * it. Asked too early, during prefill, it may not notice, so it is asked until it ends.
     */
    private suspend fun stop() {
        do {
            conversation.cancelProcess()
            val ended = withTimeoutOrNull(CANCEL_AGAIN_MILLIS) { drain() }
        } while (ended == null)
    }

    private suspend fun drain() {
        do {
            val next = channel.receiveCatching()
        } while (!next.isClosed)
    }
}

/** Time from asking to the first text, a rebuilt context included: what the user waits for. */
internal class Clock {
    private val begin = System.nanoTime()
    var seconds: Double? = null
        private set

    fun firstPiece() {
        if (seconds == null) seconds = (System.nanoTime() - begin) / 1e9
    }
}
