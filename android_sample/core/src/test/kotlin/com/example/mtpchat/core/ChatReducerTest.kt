package com.example.mtpchat.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue

class ChatReducerTest {
    private val stats = ReplyStats(0.5, 10, 20, 30.0, 30, DraftStats(12, 15))

    private fun ChatState.afterAll(vararg events: ChatEvent) = events.fold(this, ChatState::after)

    private fun text(piece: String) = ChatEvent.Reply(ReplyEvent.Text(piece))

    @Test
    fun aReplyGrowsAndEndsAsAMessage() {
        val asked = ChatState().afterAll(ChatEvent.Asked("hello"))
        assertIs<ReplyState.Prefilling>(asked.reply)
        val streaming = asked.afterAll(text("a"), text("b"))
        assertEquals(ReplyState.Streaming("ab"), streaming.reply)
        val done = streaming.after(ChatEvent.Reply(ReplyEvent.Done(stats, Ending.COMPLETE)))
        assertEquals(ReplyState.Idle, done.reply)
        assertEquals(
            listOf(
                ChatMessage(Speaker.USER, "hello"),
                ChatMessage(Speaker.MODEL, "ab", Ending.COMPLETE, stats),
            ),
            done.messages,
        )
    }

    @Test
    fun aStopKeepsWhatWasSaidAndWhatStillArrives() {
        val stopped = ChatState()
            .afterAll(ChatEvent.Asked("q"), text("a"), ChatEvent.StopAsked, text("b"))
        assertEquals(ReplyState.Stopping("ab"), stopped.reply)
        assertEquals(
            ChatMessage(Speaker.MODEL, "ab", Ending.STOPPED),
            stopped.after(ChatEvent.ReplyStopped).messages.last(),
        )
    }

    @Test
    fun aStopWithoutAReplyChangesNothing() {
        assertEquals(ChatState(), ChatState().after(ChatEvent.StopAsked))
    }

    @Test
    fun aFailureIsShownUntilItIsSeen() {
        val failed = ChatState().afterAll(
            ChatEvent.Asked("q"), text("a"), ChatEvent.ReplyFailed(Failure.ReplyBroken("x")),
        )
        assertEquals(Failure.ReplyBroken("x"), failed.failure)
        assertEquals(Ending.BROKEN, failed.messages.last().ending)
        assertNull(failed.after(ChatEvent.NoticeSeen).failure)
        assertNull(failed.after(ChatEvent.Asked("again")).failure)
    }

    @Test
    fun aQuestionThatLostItsReplyIsRestoredWithABrokenOne() {
        val restored = ChatState()
            .after(ChatEvent.Restored(listOf(ChatMessage(Speaker.USER, "q"))))
        assertEquals(ChatMessage(Speaker.MODEL, "", Ending.BROKEN), restored.messages.last())
    }

    @Test
    fun onlyAnsweredQuestionsAreHistory() {
        val asked = ChatMessage(Speaker.USER, "q")
        val answered = ChatMessage(Speaker.MODEL, "a", Ending.STOPPED)
        val empty = ChatMessage(Speaker.MODEL, "", Ending.BROKEN)
        assertEquals(listOf(asked, answered), listOf(asked, empty, asked, answered).asHistory())
        assertEquals(emptyList(), listOf(asked).asHistory())
    }

    @Test
    fun nothingCanBeSentWithoutAModelOrDuringAReply() {
        assertFalse(ChatState().canSend)
        val ready = ChatState(model = ready(mtp = true))
        assertTrue(ready.canSend && ready.canCompare)
        assertFalse(ready.after(ChatEvent.Asked("q")).canSend)
        assertFalse(ChatState(model = ready(mtp = false)).canCompare)
    }

    @Test
    fun whatIsAttachedGoesWithTheNextQuestionAndNoOther() {
        val (first, second) = listOf("a", "b").map { picture(it) }
        val attaching = seeing.after(ChatEvent.AttachStarted)
        assertTrue(attaching.attaching && !attaching.canSend && !attaching.canAttach)
        val both = attaching.afterAll(ChatEvent.Attached(first), ChatEvent.Attached(second))
        assertTrue(both.canSend && both.canAttach)
        val asked = both.afterAll(ChatEvent.Detached(first), ChatEvent.Asked("q"))
        assertEquals(listOf(ChatMessage(Speaker.USER, "q", attachments = listOf(second))), asked.messages)
        assertEquals(emptyList(), asked.attached)
        assertEquals(emptyList(), both.after(ChatEvent.ChatCleared).attached)
    }

    @Test
    fun onlyWhatTheModelTakesCanBeAttached() {
        assertFalse(ChatState(model = ready(mtp = true)).canAttach)
        assertEquals(setOf(AttachmentKind.PICTURE), seeing.attachable)
        val many = List(MOST_ATTACHMENTS) { ChatEvent.Attached(picture("$it")) }
        assertFalse(many.fold(seeing, ChatState::after).canAttach)
        val sound = Attachment(AttachmentKind.SOUND, java.io.File("s"), "s")
        assertEquals(emptyList(), seeing.after(ChatEvent.Attached(sound)).attached)
        val failed = seeing.afterAll(
            ChatEvent.AttachStarted,
            ChatEvent.AttachFailed(Failure.AttachmentTooLarge("a", 1)),
        )
        assertEquals(Failure.AttachmentTooLarge("a", 1), failed.failure)
        assertTrue(failed.canSend && failed.canAttach)
    }

    @Test
    fun oneNoticeIsDismissedAtATime() {
        val ready = ready(mtp = false).copy(setbacks = listOf(Failure.NoDrafter))
        val both = ChatState(model = ready, failure = Failure.ReplyBroken("x"))
        val once = both.after(ChatEvent.NoticeSeen)
        assertEquals(ready, once.model)
        assertEquals(emptyList(), (once.after(ChatEvent.NoticeSeen).model as ModelState.Ready).setbacks)
    }

    @Test
    fun importsShowProgressAndEnd() {
        val running = ChatState().afterAll(
            ChatEvent.ImportStarted("b", 100),
            ChatEvent.Import(ImportEvent.Progress(40, 100)),
        )
        assertEquals(ImportState("b", 40, 100), running.import)
        val failed = running.after(ChatEvent.ImportEnded(Failure.NoSpace(2, 1)))
        assertNull(failed.import)
        assertEquals(Failure.NoSpace(2, 1), failed.failure)
    }

    private val seeing get() = ChatState(model = ready(mtp = true, listOf("tf_lite_vision_encoder")))

    private fun picture(name: String) = Attachment(AttachmentKind.PICTURE, java.io.File(name), name)

    private fun ready(mtp: Boolean, modelTypes: List<String> = emptyList()) = ModelState.Ready(
        ModelBundle(
            java.io.File("b.litertlm"), 1, "1.0.0",
            modelTypes.map { BundleSection("TFLiteModel", mapOf("model_type" to it), 0, 0) },
            manifest = null,
        ),
        RunMode(Accelerator.CPU, mtp),
        emptyList(),
    )
}
