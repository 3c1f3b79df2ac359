package com.example.mtpchat.core

import kotlinx.coroutines.flow.Flow

/** Something that runs bundles. The app has one implementation, in the `litert` module. */
interface LlmRuntime {
    /**
     * Loads a bundle, off the caller's thread. Takes seconds.
     *
     * @throws FailureException The engine does not run this bundle in this mode.
     */
    suspend fun load(bundle: ModelBundle, mode: RunMode): LoadedModel
}

/** A bundle in memory. One reply at a time. */
interface LoadedModel {
    val mode: RunMode

    /**
     * Answers [prompt], which may be blank if there are [attachments]. Collecting starts the reply;
     * cancelling the collector stops it and returns only when the engine has stopped.
     *
     * The caller owns the history: whatever happened to earlier replies (stopped, failed, of another
     * process) the model sees exactly these messages, with their attachments, whose files must still
     * be there.
     *
     * The flow fails with [FailureException].
     */
    fun reply(
        history: List<ChatMessage>,
        prompt: String,
        options: ReplyOptions,
        attachments: List<Attachment> = emptyList(),
    ): Flow<ReplyEvent>

    /** Frees the engine's memory, after a running reply has been stopped. Calling it twice is fine. */
    suspend fun close()
}

/**
 * How one reply is made.
 *
 * @property mtp Speculative decoding for this reply; needs a model loaded with a drafter.
 * @property rebuildContext See [ChatSettings.rebuildContext].
 * @property maxTokens Ends the reply. Speculative decoding may overshoot by what a round accepts.
 */
data class ReplyOptions(
    val mtp: Boolean,
    val rebuildContext: Boolean = true,
    val maxTokens: Int? = null,
)

/** What happens during a reply, in this order: [Prefill], any number of [Text], [Done]. */
sealed interface ReplyEvent {
    /** The prompt is being read. */
    data object Prefill : ReplyEvent

    /** More text; a piece may hold several tokens, or half of one. */
    data class Text(val piece: String) : ReplyEvent

    data class Done(val stats: ReplyStats, val ending: Ending) : ReplyEvent
}
