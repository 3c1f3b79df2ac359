package com.example.mtpchat.core

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** One prompt, answered [rounds] times without and with speculative decoding, in turn. */
data class AbPlan(val prompt: String, val rounds: Int = 3, val maxTokens: Int = 128) {
    init {
        require(rounds > 0 && maxTokens > 0) { "rounds and maxTokens are positive: $this" }
    }
}

data class AbProgress(val reply: Int, val replies: Int)

/** What happens during a comparison: any number of [Running], then [Finished]. */
sealed interface AbEvent {
    data class Running(val progress: AbProgress) : AbEvent

    data class Finished(val report: AbReport) : AbEvent
}

/**
 * Runs [plan] on a model that was loaded with MTP.
 *
 * Off and on alternate, so that a phone that gets hot slows both down; one reply of each comes first and
 * is not counted. Every reply starts from an empty conversation. The flow fails with [FailureException].
 */
fun compareMtp(model: LoadedModel, plan: AbPlan): Flow<AbEvent> = flow {
    if (!model.mode.mtp) throw FailureException(Failure.NoDrafter)
    val replies = mapOf(false to mutableListOf<AbReply>(), true to mutableListOf())
    val total = 2 * (plan.rounds + 1)
    repeat(total) { index ->
        emit(AbEvent.Running(AbProgress(index + 1, total)))
        val mtp = index % 2 == 1
        val reply = model.answer(plan, mtp)
        if (index >= 2) replies.getValue(mtp) += reply
    }
    val report = AbReport(plan, model.mode.accelerator, replies.getValue(false), replies.getValue(true))
    emit(AbEvent.Finished(report))
}

private suspend fun LoadedModel.answer(plan: AbPlan, mtp: Boolean): AbReply {
    val text = StringBuilder()
    var stats: ReplyStats? = null
    val options = ReplyOptions(mtp, rebuildContext = true, maxTokens = plan.maxTokens)
    reply(emptyList(), plan.prompt, options).collect { event ->
        when (event) {
            is ReplyEvent.Prefill -> Unit
            is ReplyEvent.Text -> text.append(event.piece)
            is ReplyEvent.Done -> stats = event.stats
        }
    }
    return AbReply(text.toString(), checkNotNull(stats) { "a reply ended without statistics" })
}
