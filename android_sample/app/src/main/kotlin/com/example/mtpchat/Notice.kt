package com.example.mtpchat

import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.ComparisonState
import com.example.mtpchat.core.ImportState
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.RecordingState

/** What the bar above the conversation says, and what its button does. */
data class Notice(val text: String, val button: NoticeButton?)

enum class NoticeButton(val label: Int) {
    DISMISS(R.string.dismiss),
    CANCEL_IMPORT(R.string.cancel),
    STOP_COMPARING(R.string.cancel),
}

/** The most pressing thing to say about this state, if there is one. */
fun Wording.notice(state: ChatState): Notice? {
    val failure = state.failure
    val import = state.import
    val comparison = state.comparison
    val model = state.model
    val recording = state.recording
    return when {
        failure != null -> Notice(failure(failure), NoticeButton.DISMISS)
        recording is RecordingState.Running ->
            Notice(text(R.string.recording, recording.seconds, recording.mostSeconds), null)
        state.attaching -> Notice(text(R.string.attaching), null)
        import != null -> Notice(importing(import), NoticeButton.CANCEL_IMPORT)
        comparison != null -> comparing(comparison)
        model is ModelState.Checking -> Notice(text(R.string.checking, model.name), null)
        model is ModelState.Trying -> Notice(
            text(R.string.starting, model.name, mode(model.mode), model.attempt, model.attempts), null,
        )
        model is ModelState.Ready && model.setbacks.isNotEmpty() ->
            Notice(model.setbacks.joinToString(" ", transform = ::setback), NoticeButton.DISMISS)
        else -> null
    }
}

private fun Wording.importing(import: ImportState): String {
    val copied = bytes(import.copiedBytes)
    val total = import.totalBytes ?: return text(R.string.importing_unknown, import.name, copied)
    return text(R.string.importing, import.name, copied, bytes(total))
}

private fun Wording.comparing(comparison: ComparisonState): Notice = when (comparison) {
    is ComparisonState.Running -> Notice(
        text(R.string.comparing, comparison.progress.reply, comparison.progress.replies),
        NoticeButton.STOP_COMPARING,
    )
    is ComparisonState.Finished -> Notice(comparison(comparison.report), NoticeButton.DISMISS)
}
