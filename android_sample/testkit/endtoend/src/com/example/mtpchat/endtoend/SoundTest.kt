package com.example.mtpchat.endtoend

import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.FailureException
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.endtoend.EngineFixture.hearing
import com.example.mtpchat.endtoend.EngineFixture.picture
import com.example.mtpchat.endtoend.EngineFixture.sound
import com.example.mtpchat.endtoend.EngineFixture.withModel
import kotlin.io.path.createTempFile
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertTrue

private const val EATS = "What does it eat?"

/** The adapter, given tones of which it is known what the model says about them. */
class SoundTest {
    private val modes = listOf(ReplyOptions(mtp = true), ReplyOptions(mtp = false))

    @Test
    fun theHeaderSaysThatItHears() = assertEquals(AttachmentKind.entries.toSet(), hearing.takes)

    /** As the engine hears it, or in stereo and at another rate; beside a picture, in either order. */
    @Test
    fun soundIsHeardWithAndWithoutMtp() = withModel(hearing) { model ->
        for (options in modes) {
            for (file in listOf("low.wav", "low-stereo.wav")) {
                val answer = model.answer(EATS, options = options, attachments = listOf(sound(file)))
                assertEquals("The fox eats berries.", answer.text, file)
            }
            val high = model.answer(EATS, options = options, attachments = listOf(sound("high.wav")))
            assertEquals("The cat eats fish.", high.text)
            val mixed = listOf(picture("green.png"), sound("high.wav"))
            for (attachments in listOf(mixed, mixed.reversed())) {
                val both = model.answer("Compare the and the.", options = options, attachments = attachments)
                assertTrue("cat eats fish" in both.text && "fox eats berries" in both.text, both.text)
            }
        }
    }

    @Test
    fun soundInTheHistoryIsHeardAgain() = withModel(hearing) { model ->
        for (options in modes) {
            val low = listOf(sound("low.wav"))
            val first = model.answer(EATS, options = options, attachments = low)
            val second = listOf(sound("high-stereo.wav"))
            val with = model.answer(EATS, first.after(emptyList(), EATS, low), options, second)
            assertEquals("The cat eats fish.", with.text)
            val without = model.answer(EATS, first.after(emptyList(), EATS), options, second)
            assertTrue(with.done.stats.promptTokens > without.done.stats.promptTokens)
        }
    }

    @Test
    fun aFileThatIsNoSoundBreaksTheReplyAndNothingElse() = withModel(hearing) { model ->
        val file = createTempFile().toFile().apply { writeText("no sound") }
        val odd = listOf(Attachment(AttachmentKind.SOUND, file, "odd"))
        val error = assertFailsWith<FailureException> { model.answer(EATS, attachments = odd) }
        assertIs<Failure.ReplyBroken>(error.failure)
        file.delete()
        assertEquals("The cat eats fish.", model.answer(EATS, attachments = listOf(sound("high.wav"))).text)
    }
}
