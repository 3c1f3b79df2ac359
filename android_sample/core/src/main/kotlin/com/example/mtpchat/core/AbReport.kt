package com.example.mtpchat.core

import com.google.gson.JsonArray
import com.google.gson.JsonObject

private const val FORMAT = 1

data class AbReply(val text: String, val stats: ReplyStats)

/** What a comparison found. The lists have one entry per round. */
data class AbReport(
    val plan: AbPlan,
    val accelerator: Accelerator,
    val off: List<AbReply>,
    val on: List<AbReply>,
) {
    /** Median speed with MTP over median speed without: above 1, MTP helps. */
    val ratio: Double get() = on.medianSpeed() / off.medianSpeed()

    /** Whether every round said the same, with and without MTP. */
    val identical: Boolean
        get() = off.all { first -> on.all { sameText(first, it, plan.maxTokens) } }

    /** One line, for files and for `am instrument`. Speeds in tokens/s, times in seconds. */
    fun toJson(about: Map<String, String>): JsonObject = JsonObject().apply {
        addProperty("format", FORMAT)
        about.forEach(::addProperty)
        addProperty("accelerator", accelerator.name)
        addProperty("prompt", plan.prompt)
        addProperty("rounds", plan.rounds)
        addProperty("max_tokens", plan.maxTokens)
        addProperty("ratio", ratio)
        addProperty("identical_text", identical)
        add("mtp_off", off.toJson())
        add("mtp_on", on.toJson())
    }
}

fun List<AbReply>.medianSpeed(): Double = map { it.stats.tokensPerSecond }.median()

fun List<Double>.median(): Double {
    require(isNotEmpty()) { "the median of nothing" }
    val sorted = sorted()
    return (sorted[(size - 1) / 2] + sorted[size / 2]) / 2
}

/** Equal, or cut by the token limit, which speculative decoding overshoots by part of a round. */
internal fun sameText(off: AbReply, on: AbReply, maxTokens: Int): Boolean {
    val cut = off.stats.replyTokens >= maxTokens && on.stats.replyTokens >= maxTokens
    return off.text == on.text ||
        cut && (off.text.startsWith(on.text) || on.text.startsWith(off.text))
}

private fun List<AbReply>.toJson() = JsonObject().also { json ->
    val speeds = JsonArray()
    forEach { speeds.add(it.stats.tokensPerSecond) }
    json.addProperty("tokens_per_second", medianSpeed())
    json.addProperty("seconds_to_first_token", map { it.stats.secondsToFirstToken }.median())
    json.add("each_tokens_per_second", speeds)
    json.addProperty("reply_tokens", first().stats.replyTokens)
    first().stats.drafts?.let {
        json.addProperty("drafts_accepted_estimate", it.accepted)
        json.addProperty("drafts", it.drafted)
    }
    json.addProperty("text", first().text)
}
