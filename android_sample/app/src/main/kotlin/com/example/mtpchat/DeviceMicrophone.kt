package com.example.mtpchat

import android.media.AudioFormat
import android.media.AudioRecord
import android.media.MediaRecorder
import com.example.mtpchat.core.OpenMicrophone
import com.example.mtpchat.core.SAMPLE_RATE
import java.io.IOException

private const val BUFFER_SECONDS = 2
private const val SAMPLE_BYTES = 2

/** The device's microphone, recording; the app must have leave to use it. */
fun openMicrophone(): OpenMicrophone = try {
    RecordingMicrophone(
        AudioRecord(
            MediaRecorder.AudioSource.MIC,
            SAMPLE_RATE,
            AudioFormat.CHANNEL_IN_MONO,
            AudioFormat.ENCODING_PCM_16BIT,
            BUFFER_SECONDS * SAMPLE_RATE * SAMPLE_BYTES,
        ),
    )
} catch (error: RuntimeException) { // no leave, no such format, or another app has it
    throw IOException(error.message, error)
}

private class RecordingMicrophone(private val device: AudioRecord) : OpenMicrophone {
    init {
        try {
            device.startRecording()
        } catch (error: IllegalStateException) {
            device.release()
            throw error
        }
    }

    override fun read(block: ShortArray): Int {
        val count = device.read(block, 0, block.size)
        if (count < 0) throw IOException("the microphone failed with $count")
        return count
    }

    override fun close() = device.release()
}
