package com.example.mtpchat.core

import java.io.RandomAccessFile
import java.security.MessageDigest

private const val WORTH_READING_BYTES = 16L shl 20
private const val BLOCK_BYTES = 1 shl 20

/**
 * Checks what is small: the graphs, which lie in front of the weights, and the little sections.
 *
 * A damaged graph can take the whole process down inside the engine, so this is looked at before every
 * load; it reads a few MB even of a bundle of several GB. Bundles without checksums pass.
 *
 * @throws FailureException A checksum does not match.
 */
fun checkGraphs(bundle: ModelBundle) {
    RandomAccessFile(bundle.file, "r").use { stream ->
        for (section in bundle.sections) {
            val (bytes, expected) = section.checksum() ?: continue
            if (sha256(stream, section.begin, bytes) != expected) {
                val name = section.modelType ?: section.type
                throw FailureException(Failure.DamagedBundle("the checksum of $name does not match"))
            }
        }
    }
}

/** How many bytes to read and what they should add up to. */
private fun BundleSection.checksum(): Pair<Long, String>? {
    val graphBytes = metadata["graph_bytes"]?.toLongOrNull()
    val graphSum = metadata["graph_sha256"]
    if (graphBytes != null && graphSum != null) return minOf(graphBytes, bytes) to graphSum
    return metadata["sha256"]?.takeIf { bytes <= WORTH_READING_BYTES }?.let { bytes to it }
}

private fun sha256(stream: RandomAccessFile, begin: Long, bytes: Long): String {
    val digest = MessageDigest.getInstance("SHA-256")
    val block = ByteArray(BLOCK_BYTES)
    stream.seek(begin)
    var left = bytes
    while (left > 0) {
        val count = stream.read(block, 0, minOf(left, block.size.toLong()).toInt())
        if (count < 0) break
        digest.update(block, 0, count)
        left -= count
    }
    return digest.digest().joinToString("") { "%02x".format(it) }
}
