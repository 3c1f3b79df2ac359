package com.example.mtpchat.core

/**
 * Everything the chat screen shows.
 *
 * @property attached What goes with the next question.
 * @property attaching A file is being copied to become one of [attached].
 * @property recording A sound is being recorded to become one of [attached].
 */
data class ChatState(
    val model: ModelState = ModelState.None,
    val messages: List<ChatMessage> = emptyList(),
    val reply: ReplyState = ReplyState.Idle,
    val attached: List<Attachment> = emptyList(),
    val attaching: Boolean = false,
    val recording: RecordingState? = null,
    val import: ImportState? = null,
    val comparison: ComparisonState? = null,
    val failure: Failure? = null,
) {
    val isReplying: Boolean get() = reply !is ReplyState.Idle
    val canSend: Boolean
        get() = model is ModelState.Ready && !isReplying && !attaching && recording == null &&
            comparison !is ComparisonState.Running
    val canCompare: Boolean get() = canSend && (model as ModelState.Ready).mode.mtp

    /** What the model takes besides text; the button to attach is there unless this is empty. */
    val attachable: Set<AttachmentKind> get() = (model as? ModelState.Ready)?.bundle?.takes.orEmpty()
    val canAttach: Boolean
        get() = attachable.isNotEmpty() && !attaching && recording == null &&
            attached.size < MOST_ATTACHMENTS
    val canRecord: Boolean get() = canAttach && AttachmentKind.SOUND in attachable
}

sealed interface ModelState {
    data object None : ModelState

    /** The file's header and graphs are looked at. */
    data class Checking(val name: String) : ModelState

    /** The engine starts; it tells no percentage, so the attempts are the progress. */
    data class Trying(val name: String, val mode: RunMode, val attempt: Int, val attempts: Int) :
        ModelState

    /** @property setbacks Why it does not run in a better mode; empty if it does. */
    data class Ready(val bundle: ModelBundle, val mode: RunMode, val setbacks: List<Failure>) :
        ModelState
}

sealed interface ReplyState {
    data object Idle : ReplyState

    data object Prefilling : ReplyState

    data class Streaming(val text: String) : ReplyState

    /** The engine was told to stop and has not answered yet. */
    data class Stopping(val text: String) : ReplyState
}

data class ImportState(val name: String, val copiedBytes: Long, val totalBytes: Long?)

sealed interface RecordingState {
    /** The user is asked whether the app may use the microphone. */
    data object Asking : RecordingState

    data class Running(val seconds: Int, val mostSeconds: Int) : RecordingState
}

sealed interface ComparisonState {
    data class Running(val progress: AbProgress) : ComparisonState

    data class Finished(val report: AbReport) : ComparisonState
}

/** What changes a [ChatState]. */
sealed interface ChatEvent {
    data class Restored(val messages: List<ChatMessage>) : ChatEvent

    data object ChatCleared : ChatEvent

    data class LoadStarted(val name: String) : ChatEvent

    data class Load(val event: LoadEvent) : ChatEvent

    data class LoadFailed(val failure: Failure) : ChatEvent

    data object AttachStarted : ChatEvent

    data class Attached(val attachment: Attachment) : ChatEvent

    data class AttachFailed(val failure: Failure) : ChatEvent

    data class Recording(val state: RecordingState) : ChatEvent

    /** @property failure Null if there is a recording, or nothing to keep of it. */
    data class RecordingEnded(val failure: Failure?) : ChatEvent

    data class Detached(val attachment: Attachment) : ChatEvent

    /** With everything that is attached. */
    data class Asked(val prompt: String) : ChatEvent

    data class Reply(val event: ReplyEvent) : ChatEvent

    data object StopAsked : ChatEvent

    data object ReplyStopped : ChatEvent

    data class ReplyFailed(val failure: Failure) : ChatEvent

    data class ImportStarted(val name: String, val totalBytes: Long?) : ChatEvent

    data class Import(val event: ImportEvent) : ChatEvent

    data class ImportEnded(val failure: Failure?) : ChatEvent

    data class Compared(val state: ComparisonState?) : ChatEvent

    data class CompareFailed(val failure: Failure) : ChatEvent

    /** The user has read what the screen said: the failure, else the comparison, else the setbacks. */
    data object NoticeSeen : ChatEvent
}
