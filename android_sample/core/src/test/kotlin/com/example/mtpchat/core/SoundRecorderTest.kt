package com.example.mtpchat.core

import java.io.File
import java.io.IOException
import javax.sound.sampled.AudioSystem
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.runBlocking

class SoundRecorderTest {
    private val folder = createTempDirectory().toFile()
    private val seconds = mutableListOf<Int>()
    private var closed = 0

    @AfterTest
    fun tidy() {
        folder.deleteRecursively()
    }

    /** Samples 0, 1, 2, ... in blocks of odd sizes. */
    private fun counting(onRead: (Int) -> Unit = {}) = object : OpenMicrophone {
        private var next = 0

        override fun read(block: ShortArray): Int {
            onRead(next)
            val count = minOf(block.size, 997)
            for (index in 0 until count) block[index] = (next + index).toShort()
            next += count
            return count
        }

        override fun close() {
            closed++
        }
    }

    private fun record(recorder: SoundRecorder, most: Int) =
        runBlocking { recorder.record(most, seconds::add) }

    private fun samples(file: File): ShortArray = AudioSystem.getAudioInputStream(file).use { stream ->
        assertEquals(16_000f, stream.format.sampleRate)
        assertEquals(listOf(1, 16), listOf(stream.format.channels, stream.format.sampleSizeInBits))
        assertFalse(stream.format.isBigEndian)
        val bytes = stream.readBytes()
        ShortArray(bytes.size / 2) {
            (bytes[2 * it].toInt() and 0xff or (bytes[2 * it + 1].toInt() shl 8)).toShort()
        }
    }

    @Test
    fun itStopsAtTheMostThatMayBe() {
        val found = record(SoundRecorder({ counting() }, folder), 3)!!
        assertContentEquals(ShortArray(48_000) { it.toShort() }, samples(found.file))
        assertEquals(44L + 2 * 48_000, found.bytes)
        assertEquals(listOf(1, 2, 3), seconds)
        assertEquals(1, closed)
    }

    @Test
    fun itStopsWhenTold() {
        lateinit var recorder: SoundRecorder
        recorder = SoundRecorder({ counting { if (it > 9000) recorder.stop() } }, folder)
        val first = samples(record(recorder, 30)!!.file)
        assertTrue(first.size in 9000..12_000, "${first.size}")
        assertEquals(0, first.first())
        val again = samples(record(recorder, 30)!!.file)
        assertEquals(first.size, again.size, "a new recording begins anew")
    }

    @Test
    fun nothingHeardIsNoRecording() {
        val silent = object : OpenMicrophone {
            override fun read(block: ShortArray) = 0

            override fun close() = Unit
        }
        assertNull(record(SoundRecorder({ silent }, folder), 3))
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test
    fun aMicrophoneThatIsMissingOrTakenAwayIsNamed() {
        val missing = SoundRecorder({ throw IOException("none") }, folder)
        val error = assertFailsWith<FailureException> { record(missing, 3) }
        assertEquals(Failure.RecordingBroken("none"), error.failure)
        val taken = SoundRecorder({ counting { if (it > 5000) throw IOException("taken") } }, folder)
        val during = assertFailsWith<FailureException> { record(taken, 3) }
        assertEquals(Failure.RecordingBroken("taken"), during.failure)
        val full = SoundRecorder({ counting { throw IOException("No space left on device") } }, folder)
        assertIs<Failure.NoSpace>(assertFailsWith<FailureException> { record(full, 3) }.failure)
        assertEquals(emptyList(), folder.list().orEmpty().toList())
        assertEquals(2, closed)
    }

    @Test
    fun whatIsCancelledLeavesNothingBehind() {
        val heard = { counting { if (it > 5000) throw CancellationException("gone") } }
        val cancelling = SoundRecorder(heard, folder)
        assertFailsWith<CancellationException> { record(cancelling, 3) }
        assertEquals(emptyList(), folder.list().orEmpty().toList())
        assertEquals(1, closed)
    }
}
