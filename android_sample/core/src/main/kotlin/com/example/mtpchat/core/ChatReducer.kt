package com.example.mtpchat.core

/** The state that follows from this one when [event] happens. Pure: the whole screen's logic. */
fun ChatState.after(event: ChatEvent): ChatState = when (event) {
    is ChatEvent.Restored -> copy(messages = event.messages.withEndedReply() + messages)
    is ChatEvent.ChatCleared ->
        copy(messages = emptyList(), attached = emptyList(), failure = null, comparison = null)
    is ChatEvent.LoadStarted -> copy(model = ModelState.Checking(event.name), failure = null)
    is ChatEvent.Load -> copy(model = model.after(event.event)).withWhatTheModelTakes()
    is ChatEvent.LoadFailed -> copy(model = ModelState.None, failure = event.failure)
    is ChatEvent.Asked -> copy(
        messages = messages + ChatMessage(Speaker.USER, event.prompt, attachments = attached),
        attached = emptyList(),
        reply = ReplyState.Prefilling,
        failure = null,
    )
    is ChatEvent.Reply -> after(event.event)
    is ChatEvent.StopAsked -> copy(reply = if (isReplying) ReplyState.Stopping(replyText) else reply)
    is ChatEvent.ReplyStopped -> ended(Ending.STOPPED)
    is ChatEvent.ReplyFailed -> ended(Ending.BROKEN).copy(failure = event.failure)
    is ChatEvent.ImportStarted -> copy(
        import = ImportState(event.name, 0, event.totalBytes),
        failure = null,
    )
    is ChatEvent.Import -> after(event.event)
    is ChatEvent.ImportEnded -> copy(import = null, failure = event.failure ?: failure)
    is ChatEvent.AttachStarted -> copy(attaching = true, failure = null)
    is ChatEvent.Attached ->
        copy(attaching = false, attached = attached + event.attachment).withWhatTheModelTakes()
    is ChatEvent.AttachFailed -> copy(attaching = false, failure = event.failure)
    is ChatEvent.Recording -> copy(recording = event.state, failure = null)
    is ChatEvent.RecordingEnded -> copy(recording = null, failure = event.failure ?: failure)
    is ChatEvent.Detached -> copy(attached = attached - event.attachment)
    is ChatEvent.Compared -> copy(comparison = event.state)
    is ChatEvent.CompareFailed -> copy(comparison = null, failure = event.failure)
    is ChatEvent.NoticeSeen -> withoutNotice()
}

private fun ChatState.withoutNotice(): ChatState = when {
    failure != null -> copy(failure = null)
    comparison is ComparisonState.Finished -> copy(comparison = null)
    model is ModelState.Ready -> copy(model = model.copy(setbacks = emptyList()))
    else -> this
}

/** What was attached for one model is no use to another that does not take it. */
private fun ChatState.withWhatTheModelTakes(): ChatState = when (model) {
    is ModelState.Ready -> copy(attached = attached.filter { it.kind in attachable })
    else -> this
}

private fun ModelState.after(event: LoadEvent): ModelState = when (event) {
    is LoadEvent.Checked -> ModelState.Checking(event.bundle.name)
    is LoadEvent.Trying -> ModelState.Trying(name, event.mode, event.attempt, event.attempts)
    is LoadEvent.Loaded -> ModelState.Ready(event.bundle, event.model.mode, event.setbacks)
}

private fun ChatState.after(event: ReplyEvent): ChatState = when (event) {
    is ReplyEvent.Prefill -> copy(reply = ReplyState.Prefilling)
    is ReplyEvent.Text -> copy(
        reply = when (reply) {
            is ReplyState.Stopping -> ReplyState.Stopping(replyText + event.piece)
            else -> ReplyState.Streaming(replyText + event.piece)
        },
    )
    is ReplyEvent.Done -> ended(event.ending, event.stats)
}

private fun ChatState.after(event: ImportEvent): ChatState = when (event) {
    is ImportEvent.Progress -> copy(import = import?.copy(copiedBytes = event.copiedBytes))
    is ImportEvent.Finished -> copy(import = null)
}

private fun ChatState.ended(ending: Ending, stats: ReplyStats? = null): ChatState = copy(
    messages = messages + ChatMessage(Speaker.MODEL, replyText, ending, stats),
    reply = ReplyState.Idle,
)

private val ChatState.replyText: String
    get() = when (val reply = reply) {
        is ReplyState.Streaming -> reply.text
        is ReplyState.Stopping -> reply.text
        else -> ""
    }

private val ModelState.name: String
    get() = when (this) {
        is ModelState.None -> ""
        is ModelState.Checking -> name
        is ModelState.Trying -> name
        is ModelState.Ready -> bundle.name
    }

/** A question whose reply died with the process gets an empty, broken one. */
private fun List<ChatMessage>.withEndedReply(): List<ChatMessage> =
    if (lastOrNull()?.speaker == Speaker.USER) {
        this + ChatMessage(Speaker.MODEL, "", Ending.BROKEN)
    } else {
        this
    }

/** What the model is to see of the conversation: questions with an answer, a stopped one included. */
fun List<ChatMessage>.asHistory(): List<ChatMessage> = windowed(2).filter { (asked, answered) ->
    asked.speaker == Speaker.USER && answered.speaker == Speaker.MODEL && answered.text.isNotBlank()
}.flatten()
