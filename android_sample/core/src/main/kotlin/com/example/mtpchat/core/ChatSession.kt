package com.example.mtpchat.core

import java.io.File
import java.io.IOException
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.Job
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.drop
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/**
 * The conversation: takes the user's wishes, runs them one after the other, and folds what happens into
 * one [state]. Lives as long as the process, so rotating the screen does not touch it.
 *
 * All functions return at once and are to be called from [scope]'s thread. A change of accelerator or
 * of MTP loads the bundle again.
 */
class ChatSession(
    private val loader: ModelLoader,
    private val library: BundleLibrary,
    private val settings: StateFlow<ChatSettings>,
    private val transcripts: TranscriptStore,
    private val attachments: AttachmentStore,
    private val recorder: SoundRecorder,
    private val scope: CoroutineScope,
    private val io: CoroutineDispatcher = Dispatchers.IO,
) {
    private val mutableState = MutableStateFlow(ChatState())
    val state: StateFlow<ChatState> = mutableState.asStateFlow()

    private var model: LoadedModel? = null
    private var opened: File? = null
    private var loading: Job? = null
    private var replying: Job? = null
    private var importing: Job? = null
    private var attaching: Job
    private var recording: Job? = null

    init {
        attaching = scope.launch { happened(ChatEvent.Restored(withContext(io) { restored() })) }
        scope.launch {
            settings.map { it.accelerator to it.mtp }.distinctUntilChanged().drop(1)
                .collect { opened?.let(::open) }
        }
    }

    /** Loads a bundle in place of the present one. */
    fun open(file: File) {
        opened = file
        val before = loading
        before?.cancel()
        happened(ChatEvent.LoadStarted(file.name))
        loading = scope.launch {
            before?.join()
            closeModel()
            failingAs(ChatEvent::LoadFailed) {
                loader.load(file, settings.value).collect { event ->
                    if (event is LoadEvent.Loaded) model = event.model
                    happened(ChatEvent.Load(event))
                }
            }
        }
    }

    /** Copies a bundle into the library and loads it. */
    fun import(source: PickedFile) {
        if (importing?.isActive == true) return
        importing = scope.launch {
            happened(ChatEvent.ImportStarted(source.name, source.bytes))
            try {
                library.import(source).collect { event ->
                    happened(ChatEvent.Import(event))
                    if (event is ImportEvent.Finished) open(event.bundle.file)
                }
            } catch (error: FailureException) {
                happened(ChatEvent.ImportEnded(error.failure))
            } catch (error: CancellationException) {
                happened(ChatEvent.ImportEnded(null))
                throw error
            }
        }
    }

    fun cancelImport() {
        importing?.cancel()
    }

    /** Keeps a copy of a file of this kind, to go with the next question. */
    fun attach(kind: AttachmentKind, source: PickedFile) {
        if (!state.value.canAttach) return
        if (kind !in state.value.attachable) {
            return happened(ChatEvent.AttachFailed(Failure.AttachmentNotTaken(kind)))
        }
        val before = attaching
        happened(ChatEvent.AttachStarted)
        attaching = scope.launch {
            before.join()
            failingAs(ChatEvent::AttachFailed) {
                happened(ChatEvent.Attached(attachments.keep(kind, source)))
            }
        }
    }

    /** Records a sound to go with the next question; asks for leave first, unless the app [mayRecord]. */
    fun record(mayRecord: Boolean) {
        if (!state.value.canRecord) return
        if (mayRecord) startRecording() else happened(ChatEvent.Recording(RecordingState.Asking))
    }

    /** What the user said when asked for leave; the first answer counts. */
    fun answeredMayRecord(granted: Boolean) {
        if (state.value.recording !is RecordingState.Asking) return
        if (!granted) return happened(ChatEvent.RecordingEnded(Failure.MicrophoneDenied))
        happened(ChatEvent.RecordingEnded(null))
        record(mayRecord = true)
    }

    /** Ends the recording; what there is of it is attached. */
    fun stopRecording() = recorder.stop()

    private fun startRecording() {
        val most = (state.value.model as ModelState.Ready).bundle.soundSeconds
        happened(ChatEvent.Recording(RecordingState.Running(0, most)))
        recording = launchAtOnce {
            var failure: Failure? = null
            var recorded: RecordedSound? = null
            try {
                recorded = recorder.record(most) { seconds ->
                    happened(ChatEvent.Recording(RecordingState.Running(seconds, most)))
                }
            } catch (error: FailureException) {
                failure = error.failure
            } finally {
                happened(ChatEvent.RecordingEnded(failure))
            }
            recorded?.let {
                attach(AttachmentKind.SOUND, it)
                attaching.join()
                it.file.delete()
            }
        }
    }

    /** Takes back what was attached and not sent. */
    fun detach(attachment: Attachment) = happened(ChatEvent.Detached(attachment))

    /** Asks, with everything that is attached; that alone may be the question. */
    fun send(prompt: String) {
        val model = model
        val before = state.value
        if (model == null || !before.canSend || prompt.isBlank() && before.attached.isEmpty()) return
        happened(ChatEvent.Asked(prompt))
        replying = launchAtOnce { answer(model, before.messages, prompt, before.attached) }
    }

    /** Ends the reply that is running, or the comparison; what was said so far stays. */
    fun stop() {
        happened(ChatEvent.StopAsked)
        replying?.cancel()
    }

    fun newChat() {
        val before = replying
        replying = scope.launch {
            before?.cancelAndJoin()
            recording?.cancelAndJoin()
            attaching.join()
            happened(ChatEvent.ChatCleared)
            save()
            withContext(io) { attachments.keepOnly(emptyList()) }
        }
    }

    /** Answers [plan]'s prompt with MTP off and on; the conversation stays as it is. */
    fun compare(plan: AbPlan) {
        val model = model
        if (model == null || !state.value.canCompare) return
        happened(ChatEvent.Compared(ComparisonState.Running(AbProgress(1, 1))))
        replying = launchAtOnce {
            try {
                compareMtp(model, plan).collect { happened(ChatEvent.Compared(it.asState())) }
            } catch (error: FailureException) {
                happened(ChatEvent.CompareFailed(error.failure))
            } catch (error: CancellationException) {
                happened(ChatEvent.Compared(null))
                throw error
            }
        }
    }

    fun dismissNotice() = happened(ChatEvent.NoticeSeen)

    /** Files that the conversation lost, or that were attached and never sent, go at the next start. */
    private fun restored(): List<ChatMessage> =
        transcripts.load().also { messages -> attachments.keepOnly(messages.flatMap { it.attachments }) }

    private suspend fun answer(
        model: LoadedModel,
        messages: List<ChatMessage>,
        prompt: String,
        attached: List<Attachment>,
    ) {
        val options = ReplyOptions(
            mtp = settings.value.mtp && model.mode.mtp,
            rebuildContext = settings.value.rebuildContext,
        )
        try {
            save()
            failingAs(ChatEvent::ReplyFailed) {
                model.reply(messages.asHistory(), prompt, options, attached)
                    .collect { happened(ChatEvent.Reply(it)) }
            }
        } catch (error: CancellationException) {
            happened(ChatEvent.ReplyStopped)
            throw error
        } finally {
            save()
        }
    }

    private suspend fun save() = withContext(NonCancellable + io) {
        try {
            transcripts.save(state.value.messages)
        } catch (_: IOException) { // a full disk costs the copy, not the conversation
        }
    }

    /** A job that is stopped before its first line would leave the state that announced it behind. */
    @OptIn(ExperimentalCoroutinesApi::class)
    private fun launchAtOnce(block: suspend CoroutineScope.() -> Unit): Job =
        scope.launch(start = CoroutineStart.UNDISPATCHED, block = block)

    private suspend fun closeModel() {
        replying?.cancelAndJoin()
        val closing = model
        model = null
        closing?.close()
    }

    private suspend fun failingAs(event: (Failure) -> ChatEvent, block: suspend () -> Unit) = try {
        block()
    } catch (error: FailureException) {
        happened(event(error.failure))
    }

    private fun happened(event: ChatEvent) = mutableState.update { it.after(event) }
}

private fun AbEvent.asState(): ComparisonState = when (this) {
    is AbEvent.Running -> ComparisonState.Running(progress)
    is AbEvent.Finished -> ComparisonState.Finished(report)
}
