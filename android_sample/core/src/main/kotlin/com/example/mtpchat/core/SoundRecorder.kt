package com.example.mtpchat.core

import java.io.Closeable
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.concurrent.atomic.AtomicBoolean
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.withContext

private const val BLOCK_SAMPLES = SAMPLE_RATE / 10
private const val RECORDING = "recording.wav"

/** What records: on a device its microphone. */
fun interface Microphone {
    /**
     * Begins to record one channel of 16 bits at [SAMPLE_RATE].
     *
     * @throws IOException There is none, or another app has it.
     */
    fun open(): OpenMicrophone
}

/** A microphone that is recording, until it is closed. */
interface OpenMicrophone : Closeable {
    /**
     * Waits for samples.
     *
     * @return How many of the [block]'s were filled, from its beginning on; none at the end of what there is.
     * @throws IOException It was taken away.
     */
    fun read(block: ShortArray): Int
}

/** Records to a file below [folder], one recording at a time. Samples alone tell how long one is. */
class SoundRecorder(
    private val microphone: Microphone,
    private val folder: File,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) {
    private val stopped = AtomicBoolean()

    /** Ends the recording that is running. */
    fun stop() = stopped.set(true)

    /**
     * Records until [stop] is called or [mostSeconds] are over.
     *
     * @param onSeconds Told how many whole seconds there are, when another is over; on a thread of IO.
     * @return The recording; null if there is nothing in it.
     * @throws FailureException There is no microphone or no room; nothing is left behind, as when cancelled.
     */
    suspend fun record(mostSeconds: Int, onSeconds: (Int) -> Unit): RecordedSound? = withContext(dispatcher) {
        stopped.set(false)
        folder.mkdirs()
        val file = File(folder, RECORDING)
        var whole = false
        try {
            val samples = microphone.open().use { opened ->
                WavFile(file).use { wav ->
                    fill(wav, opened, mostSeconds, onSeconds) { ensureActive() }
                    wav.finish()
                    wav.samples
                }
            }
            whole = samples > 0
            if (whole) RecordedSound(file) else null
        } catch (error: IOException) {
            throw FailureException(recordingFailure(error, folder.usableSpace), error)
        } finally {
            if (!whole) file.delete()
        }
    }

    private inline fun fill(
        wav: WavFile,
        opened: OpenMicrophone,
        mostSeconds: Int,
        onSeconds: (Int) -> Unit,
        check: () -> Unit,
    ) {
        val block = ShortArray(BLOCK_SAMPLES)
        val most = mostSeconds * SAMPLE_RATE
        while (!stopped.get() && wav.samples < most) {
            check()
            val before = wav.samples / SAMPLE_RATE
            val count = opened.read(block)
            if (count == 0) return
            wav.write(block, minOf(count, most - wav.samples))
            if (wav.samples / SAMPLE_RATE > before) onSeconds(wav.samples / SAMPLE_RATE)
        }
    }
}

/** A recording, to be attached as a file would be. */
class RecordedSound(val file: File) : PickedFile {
    override val name: String get() = file.name
    override val bytes: Long get() = file.length()

    override fun open(): InputStream = file.inputStream()
}

private fun recordingFailure(error: IOException, freeBytes: Long): Failure =
    when (val failure = copyFailure(error, 0, freeBytes)) {
        is Failure.NoSpace -> failure
        else -> Failure.RecordingBroken(error.message.orEmpty())
    }
