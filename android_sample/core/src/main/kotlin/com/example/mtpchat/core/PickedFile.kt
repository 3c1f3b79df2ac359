package com.example.mtpchat.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream

private const val BLOCK_BYTES = 1 shl 20

/** A file somewhere (a document provider, a download) that can be read once from front to back. */
interface PickedFile {
    /** As the provider calls it: not to be trusted as a path. */
    val name: String

    /** Null where the provider does not tell. */
    val bytes: Long?

    /** @throws IOException It cannot be read. */
    fun open(): InputStream
}

/**
 * Copies all of it, in blocks that are full but for the last one; there is at least one, maybe empty.
 *
 * @param onBlock Sees a block before it is written: its bytes, how many of them count, and how many there
 *   are in all blocks so far. May throw.
 * @throws IOException Reading or writing failed.
 */
internal inline fun PickedFile.copyTo(target: File, onBlock: (ByteArray, Int, Long) -> Unit) {
    open().use { input ->
        FileOutputStream(target).use { output ->
            val block = ByteArray(BLOCK_BYTES)
            var total = 0L
            do {
                val count = input.fill(block)
                total += count
                onBlock(block, count, total)
                output.write(block, 0, count)
            } while (count == block.size)
            output.fd.sync()
        }
    }
}

/** The disk may fill up during a copy, whatever was free before. */
internal fun copyFailure(error: IOException, neededBytes: Long, freeBytes: Long): Failure {
    val detail = error.message.orEmpty()
    return if ("No space left" in detail || "ENOSPC" in detail) {
        Failure.NoSpace(neededBytes, freeBytes)
    } else {
        Failure.ImportBroken(detail)
    }
}

/** Fills the block unless the end comes first. (`InputStream.readNBytes` is too new for Android 8.) */
private fun InputStream.fill(block: ByteArray): Int {
    var filled = 0
    while (filled < block.size) {
        val count = read(block, filled, block.size - filled)
        if (count < 0) break
        filled += count
    }
    return filled
}
