package com.example.mtpchat.core

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** A runtime that refuses the modes it is told to, for what no real engine can be made to do here. */
class ScriptedRuntime(
    private val refused: Set<RunMode> = emptySet(),
    private val onLoad: suspend () -> Unit = {},
) : LlmRuntime {
    val tried = mutableListOf<RunMode>()
    val closed = mutableListOf<RunMode>()

    override suspend fun load(bundle: ModelBundle, mode: RunMode): LoadedModel {
        tried += mode
        onLoad()
        if (mode in refused) throw FailureException(Failure.ModeRefused(mode, "scripted"))
        return Model(mode)
    }

    private inner class Model(override val mode: RunMode) : LoadedModel {
        override fun reply(
            history: List<ChatMessage>,
            prompt: String,
            options: ReplyOptions,
            attachments: List<Attachment>,
        ): Flow<ReplyEvent> = flow {
            emit(ReplyEvent.Prefill)
            emit(ReplyEvent.Text("re: $prompt"))
            val speed = if (options.mtp) 20.0 else 10.0
            emit(ReplyEvent.Done(ReplyStats(0.1, 1, 2, speed, 3), Ending.COMPLETE))
        }

        override suspend fun close() {
            closed += mode
        }
    }
}

class MemoryInMemory : ModeMemory {
    val records = mutableMapOf<String, ModeRecord>()

    override fun recall(bundle: String): ModeRecord = records[bundle] ?: ModeRecord()

    override fun remember(bundle: String, record: ModeRecord) {
        records[bundle] = record
    }
}
