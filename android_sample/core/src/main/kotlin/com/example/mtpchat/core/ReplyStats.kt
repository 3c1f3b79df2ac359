package com.example.mtpchat.core

/**
 * Figures of one reply, as the engine's benchmark reports them.
 *
 * @property drafts Null without speculative decoding, or where it cannot be known.
 */
data class ReplyStats(
    val secondsToFirstToken: Double,
    val promptTokens: Int,
    val replyTokens: Int,
    val tokensPerSecond: Double,
    val contextTokens: Int,
    val drafts: DraftStats? = null,
)

/** Drafted tokens of one reply, and how many of them the model accepted. */
data class DraftStats(val accepted: Int, val drafted: Int) {
    val rate: Double get() = if (drafted == 0) 0.0 else accepted.toDouble() / drafted

    companion object {
        /**
         * An estimate: the engine has no API for acceptance, but under speculative decoding it hands
         * over one piece of text per round, and a round emits its accepted drafts plus one token.
         * 111 tokens in 28 pieces with 3 drafts a round: 83 of 84 accepted. Rounds whose text is held
         * back (half a character, perhaps a stop word) go uncounted, so it errs upwards a little.
         */
        fun estimated(tokens: Int, pieces: Int, draftLength: Int): DraftStats {
            val drafted = pieces * draftLength
            return DraftStats((tokens - pieces).coerceIn(0, drafted), drafted)
        }
    }
}
