package com.example.mtpchat.endtoend

import com.example.mtpchat.core.AttachmentKind.SOUND
import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.Microphone
import com.example.mtpchat.core.OpenMicrophone
import com.example.mtpchat.core.RecordingState
import com.example.mtpchat.endtoend.EngineFixture.hearing
import com.example.mtpchat.endtoend.EngineFixture.seeing
import com.example.mtpchat.endtoend.EngineFixture.sound
import java.io.File
import javax.sound.sampled.AudioSystem
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertNull
import kotlin.test.assertTrue

private const val EATS = "What does it eat?"

/** From the button to what the model says; the microphone plays a file. */
class RecordingTest : SessionHarness() {
    /** Plays a file of 16 kHz and then, until it is closed, nothing or [silence]. */
    private fun playing(file: File, silence: Boolean = false) = Microphone {
        val stream = AudioSystem.getAudioInputStream(file)
        object : OpenMicrophone {
            override fun read(block: ShortArray): Int {
                val bytes = stream.readNBytes(2 * block.size)
                val count = bytes.size / 2
                for (index in 0 until count) {
                    val low = bytes[2 * index].toInt() and 0xff
                    block[index] = (low or (bytes[2 * index + 1].toInt() shl 8)).toShort()
                }
                if (count > 0 || !silence) return count
                Thread.sleep(1)
                block.fill(0)
                return block.size
            }

            override fun close() = stream.close()
        }
    }

    private fun awaitEnd(): ChatState = session.await { it.recording == null && !it.attaching }

    @Test
    fun aRecordingGoesWithTheNextQuestion() {
        open(hearing.file)
        microphone = playing(sound("high.wav").file)
        onMain { session.record(mayRecord = true) }
        val recorded = session.await { it.attached.isNotEmpty() }.attached.single()
        assertEquals(SOUND, recorded.kind)
        val original = sound("high.wav").file.readBytes()
        assertEquals(original.size, recorded.file.readBytes().size)
        assertTrue(original.contentEquals(recorded.file.readBytes()), "what is heard is what was said")
        assertEquals("The cat eats fish.", say(EATS).text)
    }

    @Test
    fun leaveIsAskedForFirst() {
        open(hearing.file)
        microphone = playing(sound("low.wav").file)
        onMain { session.record(mayRecord = false) }
        val asking = session.state.value
        assertEquals(RecordingState.Asking, asking.recording)
        assertFalse(asking.canSend || asking.canRecord)
        onMain { session.answeredMayRecord(granted = false) }
        assertEquals(Failure.MicrophoneDenied, awaitEnd().failure)
        onMain { session.answeredMayRecord(granted = true) }
        assertNull(session.state.value.recording, "an answer to no question")
        onMain { session.record(mayRecord = false) }
        onMain { session.answeredMayRecord(granted = true) }
        session.await { it.attached.size == 1 }
        assertNull(session.state.value.failure)
        assertEquals("The fox eats berries.", say(EATS).text)
    }

    @Test
    fun itEndsWhereTheBundleDoes() {
        assertEquals(2, hearing.soundSeconds)
        open(hearing.file)
        microphone = playing(sound("high.wav").file, silence = true)
        onMain { session.record(mayRecord = true) }
        val recorded = session.await { it.attached.isNotEmpty() }.attached.single()
        assertEquals(44L + 2 * 2 * 16_000, recorded.file.length())
        onMain { session.stopRecording() }
        assertNull(session.state.value.recording)
    }

    @Test
    fun aMicrophoneThatFailsIsNamedAndTheChatGoesOn() {
        open(hearing.file)
        onMain { session.record(mayRecord = true) }
        assertEquals(Failure.RecordingBroken("no microphone"), session.await { it.failure != null }.failure)
        assertTrue(awaitEnd().canSend)
    }

    @Test
    fun onlyModelsThatHearAreRecordedFor() {
        open(seeing.file)
        onMain { session.record(mayRecord = true) }
        assertNull(session.state.value.recording)
    }

    @Test
    fun aNewChatEndsARecording() {
        open(hearing.file)
        var read = 0
        microphone = Microphone {
            object : OpenMicrophone {
                override fun read(block: ShortArray): Int {
                    Thread.sleep(1)
                    return minOf(10, block.size).also { read += it }
                }

                override fun close() = Unit
            }
        }
        onMain { session.record(mayRecord = true) }
        awaitTrue { read > 0 }
        assertEquals(RecordingState.Running(0, 2), session.state.value.recording)
        onMain { session.newChat() }
        assertTrue(awaitEnd().attached.isEmpty())
    }
}
