package com.example.mtpchat.core

import java.io.Closeable
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

/** Samples a second: what the engine hears, so that it need not resample. */
const val SAMPLE_RATE = 16_000

internal const val WAV_HEADER_BYTES = 44
private const val SAMPLE_BYTES = 2
private const val FORMAT_BYTES = 16
private const val PCM: Short = 1
private const val MONO: Short = 1

/**
 * A WAV file that grows: one channel of 16 bits at [SAMPLE_RATE]. Its header is written last, so what a
 * process that ended leaves behind is no WAV.
 */
class WavFile(file: File) : Closeable {
    private val output = RandomAccessFile(file, "rw").apply {
        setLength(0)
        seek(WAV_HEADER_BYTES.toLong())
    }

    var samples = 0
        private set

    /** @throws java.io.IOException The disk is full. */
    fun write(block: ShortArray, count: Int) {
        val bytes = littleEndian(count * SAMPLE_BYTES)
        bytes.asShortBuffer().put(block, 0, count)
        output.write(bytes.array())
        samples += count
    }

    /** Writes the header; the file is whole then. */
    fun finish() {
        output.seek(0)
        output.write(header(samples * SAMPLE_BYTES))
    }

    override fun close() = output.close()
}

private fun header(dataBytes: Int): ByteArray = littleEndian(WAV_HEADER_BYTES)
    .put("RIFF".toByteArray()).putInt(WAV_HEADER_BYTES - 8 + dataBytes).put("WAVE".toByteArray())
    .put("fmt ".toByteArray()).putInt(FORMAT_BYTES).putShort(PCM).putShort(MONO)
    .putInt(SAMPLE_RATE).putInt(SAMPLE_RATE * SAMPLE_BYTES)
    .putShort(SAMPLE_BYTES.toShort()).putShort((8 * SAMPLE_BYTES).toShort())
    .put("data".toByteArray()).putInt(dataBytes)
    .array()

private fun littleEndian(bytes: Int) = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN)
