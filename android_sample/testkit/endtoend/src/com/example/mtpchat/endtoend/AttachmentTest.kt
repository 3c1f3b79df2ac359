package com.example.mtpchat.endtoend

import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind.PICTURE
import com.example.mtpchat.core.AttachmentKind.SOUND
import com.example.mtpchat.core.Failure
import com.example.mtpchat.endtoend.EngineFixture.hearing
import com.example.mtpchat.endtoend.EngineFixture.picture
import com.example.mtpchat.endtoend.EngineFixture.seeing
import com.example.mtpchat.endtoend.EngineFixture.sound
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue

private const val WHAT = "What is this?"

/** From a picked file to what the model says about it. */
class AttachmentTest : SessionHarness() {
    private fun attach(name: String) = attach(picture(name))

    private fun attach(file: Attachment): Attachment {
        val before = session.state.value.attached.size
        onMain { session.attach(file.kind, picked(file.file)) }
        return session.await { it.attached.size == before + 1 && !it.attaching }.attached.last()
    }

    @Test
    fun anAttachedPictureGoesWithTheNextQuestion() {
        assertFalse(session.state.value.canAttach, "there is no model yet")
        open(seeing.file)
        assertEquals(setOf(PICTURE), session.state.value.attachable)
        val kept = attach("blue.jpg")
        assertEquals("blue.jpg", kept.name)
        assertEquals("The cat is black.", say(WHAT).text)
        assertEquals(listOf(kept), session.state.value.messages.first().attachments)
        assertEquals(emptyList(), session.state.value.attached)
        attach("red.png")
        assertTrue("fox" in say("").text, "a picture may be the whole question")
    }

    @Test
    fun anAttachedSoundGoesWithTheNextQuestion() {
        open(hearing.file)
        assertEquals(setOf(PICTURE, SOUND), session.state.value.attachable)
        attach(sound("high.wav"))
        assertEquals("The cat eats fish.", say("What does it eat?").text)
        onMain { session.attach(SOUND, picked(picture("red.png").file)) }
        val state = session.await { it.failure != null }
        assertEquals(Failure.AttachmentUnreadable(SOUND, "red.png"), state.failure)
    }

    @Test
    fun whatIsTakenBackIsNotSent() {
        open(seeing.file)
        val blue = attach("blue.jpg")
        attach("red.png")
        onMain { session.detach(blue) }
        assertEquals("The fox is red.", say(WHAT).text)
    }

    @Test
    fun picturesOutliveTheProcessAndGoWithTheConversation() {
        open(seeing.file)
        attach("red.png")
        say(WHAT)
        val sent = session.state.value.messages.first().attachments.single()
        val unsent = attach("blue.jpg")
        awaitSaved()
        val restored = session().await { it.messages.isNotEmpty() }
        assertEquals(sent, restored.messages.first().attachments.single())
        assertTrue(sent.file.isFile)
        assertFalse(unsent.file.isFile, "what was never sent is tidied up at the start")
        onMain { session.newChat() }
        session.await { it.messages.isEmpty() }
        awaitTrue { !sent.file.isFile }
    }

    @Test
    fun aConversationWhosePictureIsGoneSaysSo() {
        open(seeing.file)
        val kept = attach("red.png")
        say(WHAT)
        kept.file.delete()
        say(WHAT)
        assertEquals(Failure.AttachmentGone("red.png"), session.state.value.failure)
    }

    @Test
    fun aFileThatIsNoPictureIsNotAttached() {
        open(seeing.file)
        onMain { session.attach(PICTURE, picked(seeing.file)) }
        val state = session.await { it.failure != null }
        assertEquals(Failure.AttachmentUnreadable(PICTURE, seeing.file.name), state.failure)
        assertTrue(state.attached.isEmpty() && state.canSend)
        onMain { session.attach(SOUND, picked(seeing.file)) }
        assertEquals(Failure.AttachmentNotTaken(SOUND), session.state.value.failure)
    }

    @Test
    fun anotherBundleDropsWhatItDoesNotTake() {
        open(seeing.file)
        attach("red.png")
        say(WHAT)
        attach("red.png")
        open(EngineFixture.withDrafter.file)
        assertTrue(session.state.value.attached.isEmpty())
        assertFalse(session.state.value.canAttach)
        say(WHAT)
        assertEquals(Failure.AttachmentNotTaken(PICTURE), session.state.value.failure)
        onMain { session.newChat() }
        session.await { it.messages.isEmpty() }
        assertTrue("bear" in say(EngineFixture.BEAR).text)
    }
}
