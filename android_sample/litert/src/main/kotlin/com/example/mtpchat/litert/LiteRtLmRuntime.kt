package com.example.mtpchat.litert

import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.DraftStats
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.FailureException
import com.example.mtpchat.core.LlmRuntime
import com.example.mtpchat.core.LoadedModel
import com.example.mtpchat.core.MOST_ATTACHMENTS
import com.example.mtpchat.core.ModelBundle
import com.example.mtpchat.core.ReplyEvent
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.core.ReplyStats
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.core.requireTaken
import com.google.ai.edge.litertlm.Backend
import com.google.ai.edge.litertlm.BenchmarkInfo
import com.google.ai.edge.litertlm.Conversation
import com.google.ai.edge.litertlm.ConversationConfig
import com.google.ai.edge.litertlm.Engine
import com.google.ai.edge.litertlm.EngineConfig
import com.google.ai.edge.litertlm.ExperimentalApi
import com.google.ai.edge.litertlm.ExperimentalFlags
import com.google.ai.edge.litertlm.LiteRtLmJniException
import com.google.ai.edge.litertlm.LogSeverity
import com.google.ai.edge.litertlm.SamplerConfig
import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import kotlinx.coroutines.withContext

/** How the engine words what its API has no codes for. */
private const val NO_DRAFTER = "mtp_drafter not found"
private val PROMPT_TOO_LONG = listOf("Input token ids are too long", "exceeds available state entries")

/** Under MTP the engine decodes greedily whatever it is told; without, it has to be told. */
private val GREEDY = SamplerConfig(topK = 1, topP = 1.0, temperature = 1.0)

/**
 * LiteRT-LM (0.18) behind [LlmRuntime]; no other module names its API.
 *
 * Pictures are encoded where the model runs, for which a bundle's graphs are made; sound on the CPU.
 *
 * @param weightCache Where the engine may keep weights repacked for this device; null to keep none. It
 *   can grow as large as the bundle and makes later loads faster.
 * @param threads CPU threads; null for the engine's choice.
 * @param verbose Let the engine log what it does; its drafter's success rate is found only there.
 * @param contextTokens Length of the KV cache; null for what the bundle was exported with.
 */
@OptIn(ExperimentalApi::class)
class LiteRtLmRuntime(
    private val weightCache: File?,
    private val threads: Int? = null,
    private val contextTokens: Int? = null,
    verbose: Boolean = false,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) : LlmRuntime {
    init {
        Engine.setNativeMinLogSeverity(if (verbose) LogSeverity.INFO else LogSeverity.ERROR)
    }

    override suspend fun load(bundle: ModelBundle, mode: RunMode): LoadedModel = withContext(dispatcher) {
        val limit = contextTokens ?: bundle.manifest?.cacheLength
        val engine = Engine(
            EngineConfig(
                modelPath = bundle.file.path,
                backend = mode.accelerator.backend(),
                visionBackend = mode.accelerator.backend().takeIf { bundle.takesPictures },
                audioBackend = Accelerator.CPU.backend().takeIf { bundle.takesSound },
                maxNumImages = MOST_ATTACHMENTS.takeIf { bundle.takesPictures },
                maxNumTokens = limit,
                cacheDir = weightCache?.path ?: ":nocache",
            ),
        )
        try {
            flagLock.withLock {
                ExperimentalFlags.enableBenchmark = true // or there are no statistics
                ExperimentalFlags.enableSpeculativeDecoding = mode.mtp
                engine.initialize()
            }
        } catch (error: LiteRtLmJniException) { // closing an engine that did not start throws, too
            throw FailureException(refusal(mode, error.message.orEmpty()), error)
        }
        LiteRtLmModel(engine, bundle, mode, limit, dispatcher)
    }

    private fun Accelerator.backend(): Backend = when (this) {
        Accelerator.GPU -> Backend.GPU()
        Accelerator.CPU -> Backend.CPU(threadCount = threads)
    }

    private fun refusal(mode: RunMode, detail: String): Failure =
        if (NO_DRAFTER in detail) Failure.NoDrafter else Failure.ModeRefused(mode, detail)

    private companion object {
        /** The engine reads its flags from globals. */
        val flagLock = Mutex()
    }
}

/**
 * A running engine and at most one conversation, which is replaced whenever it does not hold exactly the
 * history asked for: after a stop (a cancelled conversation never answers again), after a failure, in a
 * new chat, after a restart, or for every turn if the caller wants the context rebuilt.
 */
@OptIn(ExperimentalApi::class)
private class LiteRtLmModel(
    private val engine: Engine,
    private val bundle: ModelBundle,
    override val mode: RunMode,
    private val contextTokens: Int?,
    private val dispatcher: CoroutineDispatcher,
) : LoadedModel {
    private val lock = Mutex()
    private var current: Held? = null

    /** A conversation and what was said in it, how it was said left out. */
    private class Held(
        val conversation: Conversation,
        val said: List<ChatMessage>,
        val options: ReplyOptions,
    )

    override fun reply(
        history: List<ChatMessage>,
        prompt: String,
        options: ReplyOptions,
        attachments: List<Attachment>,
    ): Flow<ReplyEvent> = flow {
        val said = history.map { it.copy(ending = null, stats = null) }
        val asked = ChatMessage(Speaker.USER, prompt, attachments = attachments)
        lock.withLock { answer(said, asked, options) }
    }.flowOn(dispatcher)

    override suspend fun close() = withContext(NonCancellable + dispatcher) {
        lock.withLock {
            drop()
            if (engine.isInitialized()) engine.close()
        }
    }

    private suspend fun FlowCollector<ReplyEvent>.answer(
        said: List<ChatMessage>,
        asked: ChatMessage,
        options: ReplyOptions,
    ) {
        if (options.mtp && !mode.mtp) throw FailureException(Failure.NoDrafter)
        if (!engine.isInitialized()) throw FailureException(Failure.ReplyBroken("the model was closed"))
        bundle.requireTaken(said + asked)
        emit(ReplyEvent.Prefill)
        val clock = Clock()
        try {
            val conversation = conversation(said, options)
            current = null // until the reply has ended well, nothing is known about its state
            try {
                speak(conversation, said, asked, options, clock)
            } finally {
                if (current?.conversation !== conversation) conversation.close()
            }
        } catch (error: LiteRtLmJniException) {
            throw FailureException(breakage(error.message.orEmpty()), error)
        }
    }

    private suspend fun FlowCollector<ReplyEvent>.speak(
        conversation: Conversation,
        said: List<ChatMessage>,
        asked: ChatMessage,
        options: ReplyOptions,
        clock: Clock,
    ) {
        val pieces = Pieces(conversation, asked.toMessage())
        val text = StringBuilder()
        pieces.forEach { piece ->
            clock.firstPiece()
            text.append(piece)
            emit(ReplyEvent.Text(piece))
        }
        val stats = stats(conversation, clock, options, pieces.count)
        val full = pieces.full || contextTokens != null && stats.contextTokens >= contextTokens
        if (full && text.isBlank()) throw FailureException(contextFull())
        if (!full) {
            val now = said + asked + ChatMessage(Speaker.MODEL, text.toString())
            current = Held(conversation, now, options)
        }
        emit(ReplyEvent.Done(stats, if (full) Ending.CONTEXT_FULL else Ending.COMPLETE))
    }

    private fun conversation(said: List<ChatMessage>, options: ReplyOptions): Conversation {
        val held = current
        if (held != null && !options.rebuildContext && held.said == said && held.options == options) {
            return held.conversation
        }
        drop()
        return engine.createConversation(
            ConversationConfig(
                initialMessages = said.map { it.toMessage() },
                samplerConfig = GREEDY,
                maxOutputToken = options.maxTokens,
                enableSpeculativeDecoding = options.mtp,
            ),
        )
    }

    private fun drop() {
        current?.conversation?.close() // a second close() would throw
        current = null
    }

    private fun breakage(detail: String): Failure =
        if (PROMPT_TOO_LONG.any { it in detail }) contextFull() else Failure.ReplyBroken(detail)

    private fun contextFull() = Failure.ContextFull(contextTokens)

    private fun stats(
        conversation: Conversation,
        clock: Clock,
        options: ReplyOptions,
        pieces: Int,
    ): ReplyStats {
        val info: BenchmarkInfo = conversation.getBenchmarkInfo()
        return ReplyStats(
            secondsToFirstToken = clock.seconds ?: info.timeToFirstTokenInSecond,
            promptTokens = info.lastPrefillTokenCount,
            replyTokens = info.lastDecodeTokenCount,
            tokensPerSecond = info.lastDecodeTokensPerSecond,
            contextTokens = conversation.getTokenCount(),
            drafts = bundle.manifest?.draftLength?.takeIf { options.mtp }
                ?.let { DraftStats.estimated(info.lastDecodeTokenCount, pieces, it) },
        )
    }
}
