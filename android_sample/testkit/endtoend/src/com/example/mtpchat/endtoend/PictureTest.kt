package com.example.mtpchat.endtoend

import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.FailureException
import com.example.mtpchat.core.ReplyEvent
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.endtoend.EngineFixture.BEAR
import com.example.mtpchat.endtoend.EngineFixture.picture
import com.example.mtpchat.endtoend.EngineFixture.seeing
import com.example.mtpchat.endtoend.EngineFixture.withModel
import java.io.File
import kotlin.io.path.createTempFile
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList

private const val WHAT = "What is this?"
private const val EATS = "What does it eat?"
private const val SAYS = "What sound does it make?"
private const val PORTRAIT = "The fox is red and clever. It eats berries and lives in a den. " +
    "It barks when it meets its friend, the badger."

/** The adapter, given pictures of which it is known what the model says about them. */
class PictureTest {
    private val on = ReplyOptions(mtp = true)
    private val off = ReplyOptions(mtp = false)
    private val red = listOf(picture("red.png"))
    private val blue = listOf(picture("blue.jpg"))

    @Test
    fun theHeaderSaysWhatABundleTakes() {
        assertEquals(setOf(AttachmentKind.PICTURE), seeing.takes)
        assertTrue(seeing.takesPictures && !seeing.takesSound && seeing.hasDrafter)
        assertFalse(EngineFixture.withDrafter.takesPictures)
    }

    /** Small and as it is, or large and resized by the engine; before a text, or without one. */
    @Test
    fun picturesAreSeenWithAndWithoutMtp() = withModel(seeing) { model ->
        for (options in listOf(on, off)) {
            for (file in listOf("red.png", "red.jpg")) {
                val answer = model.answer(WHAT, options = options, attachments = listOf(picture(file)))
                assertEquals("The fox is red.", answer.text, file)
            }
            assertEquals("The cat eats fish.", model.answer(EATS, options = options, attachments = blue).text)
            assertEquals(PORTRAIT, model.answer("", options = options, attachments = red).text)
            val both = model.answer("Compare the and the.", options = options, attachments = red + blue)
            assertTrue("cat eats fish" in both.text && "fox eats berries" in both.text, both.text)
        }
        val fast = model.answer("", options = on, attachments = red)
        assertTrue(fast.pieces * 2 < model.answer("", options = off, attachments = red).pieces)
    }

    /** What was said in words is the same for both pictures, so it is the picture that decides. */
    @Test
    fun picturesInTheHistoryAreSeenAgain() = withModel(seeing) { model ->
        fun after(attachments: List<Attachment>) = listOf(
            ChatMessage(Speaker.USER, EATS, attachments = attachments),
            ChatMessage(Speaker.MODEL, "It is good.", Ending.COMPLETE),
        )
        for (options in listOf(on, off)) {
            assertEquals("The fox barks.", model.answer(SAYS, after(red), options).text)
            assertFalse("fox" in model.answer(SAYS, after(blue), options).text)
            assertFalse("fox" in model.answer(SAYS, after(emptyList()), options).text)
            val first = model.answer(EATS, options = options, attachments = red)
            val history = first.after(emptyList(), EATS, red)
            assertEquals("The cat eats fish.", model.answer(EATS, history, options, blue).text)
        }
    }

    @Test
    fun aConversationWithPicturesMayBeContinued() = withModel(seeing) { model ->
        val keeping = on.copy(rebuildContext = false)
        val first = model.answer(EATS, options = keeping, attachments = red)
        val history = first.after(emptyList(), EATS, red)
        val second = model.answer(EATS, history, keeping, blue)
        assertEquals("The cat eats fish.", second.text)
        val other = first.after(emptyList(), EATS, blue) // said of another picture: nothing to continue
        val rebuilt = model.answer(EATS, other, keeping, blue)
        assertTrue(rebuilt.done.stats.promptTokens > second.done.stats.promptTokens + 10)
    }

    @Test
    fun stoppedWhileTellingOfAPictureItRecovers() = withModel(seeing) { model ->
        model.reply(emptyList(), "", on, red).take(2).toList()
        model.reply(emptyList(), "", on, red).take(1).toList()
        assertEquals(PORTRAIT, model.answer("", options = on, attachments = red).text)
    }

    @Test
    fun aFileThatIsGoneIsNamedWhereverItIsNeeded() = withModel(seeing) { model ->
        val gone = listOf(Attachment(AttachmentKind.PICTURE, File("/nowhere"), "cat.jpg"))
        val asked = assertFailsWith<FailureException> { model.answer(WHAT, attachments = gone) }
        assertEquals(Failure.AttachmentGone("cat.jpg"), asked.failure)
        val history = model.answer(BEAR).after(emptyList(), BEAR, gone)
        val later = assertFailsWith<FailureException> { model.answer(WHAT, history) }
        assertEquals(Failure.AttachmentGone("cat.jpg"), later.failure)
        assertEquals("The fox is red.", model.answer(WHAT, attachments = red).text)
    }

    /** The app keeps no such file; if one gets there, the engine says so and goes on. */
    @Test
    fun aFileThatIsNoPictureBreaksTheReplyAndNothingElse() = withModel(seeing) { model ->
        val file = createTempFile().toFile().apply { writeText("no picture") }
        val odd = listOf(Attachment(AttachmentKind.PICTURE, file, "odd"))
        val error = assertFailsWith<FailureException> { model.answer(WHAT, attachments = odd) }
        assertIs<Failure.ReplyBroken>(error.failure)
        file.delete()
        assertEquals("The fox is red.", model.answer(WHAT, attachments = red).text)
    }

    @Test
    fun whatABundleDoesNotTakeIsRefusedInWords() = withModel { model ->
        val error = assertFailsWith<FailureException> { model.answer(WHAT, attachments = red) }
        assertEquals(Failure.AttachmentNotTaken(AttachmentKind.PICTURE), error.failure)
        val said = model.reply(emptyList(), BEAR, on).toList().filterIsInstance<ReplyEvent.Text>()
        assertTrue(said.isNotEmpty())
    }
}
