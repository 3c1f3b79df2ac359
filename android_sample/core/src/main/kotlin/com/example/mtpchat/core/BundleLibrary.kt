package com.example.mtpchat.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.io.InputStream
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.flowOn

private const val PARTIAL = ".part"
private const val SUFFIX = ".litertlm"
private const val BLOCK_BYTES = 1 shl 20
private val MAGIC = "LITERTLM".toByteArray()

/** A file somewhere (a document provider, a download) that can be read once from front to back. */
interface BundleSource {
    /** A plain file name, see [bundleFileName]. */
    val name: String

    /** Null where the provider does not tell. */
    val bytes: Long?

    /** @throws IOException It cannot be read. */
    fun open(): InputStream
}

/** What happens during an import: any number of [Progress], then [Finished]. */
sealed interface ImportEvent {
    data class Progress(val copiedBytes: Long, val totalBytes: Long?) : ImportEvent

    data class Finished(val bundle: ModelBundle) : ImportEvent
}

/**
 * The app's own folder of bundles. The engine maps files, so what was picked from elsewhere has to be
 * copied here; a copy has its final name only once it is complete and its header reads well.
 *
 * @param marginBytes Space that must stay free besides the bundle.
 */
class BundleLibrary(
    private val folder: File,
    private val marginBytes: Long = 64L shl 20,
    private val freeBytes: (File) -> Long = File::getUsableSpace,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) {
    /** Complete bundles, newest first. */
    fun files(): List<File> = folder.listFiles().orEmpty()
        .filter { it.isFile && !it.name.endsWith(PARTIAL) }
        .sortedByDescending(File::lastModified)

    fun find(name: String): File? = files().find { it.name == name }

    /**
     * Copies [source]; a bundle of the same name is replaced at the end, in one step. Cancelling the
     * collector leaves nothing behind. The flow fails with [FailureException].
     */
    fun import(source: BundleSource): Flow<ImportEvent> = flow {
        folder.mkdirs()
        val partial = File(folder, source.name + PARTIAL)
        try {
            requireSpace(source.bytes ?: 0)
            copy(source, partial)
            readBundle(partial).also(::checkGraphs)
            val target = File(folder, source.name)
            Files.move(partial.toPath(), target.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
            emit(ImportEvent.Finished(readBundle(target)))
        } catch (error: IOException) {
            throw FailureException(reason(error, source), error)
        } finally {
            partial.delete()
        }
    }.flowOn(dispatcher)

    private suspend fun FlowCollector<ImportEvent>.copy(source: BundleSource, partial: File) {
        source.open().use { input ->
            FileOutputStream(partial).use { output ->
                val block = ByteArray(BLOCK_BYTES)
                var copied = 0L
                while (true) {
                    val count = input.fill(block)
                    if (copied == 0L) requireMagic(source, block, count)
                    if (count == 0) break
                    output.write(block, 0, count)
                    copied += count
                    emit(ImportEvent.Progress(copied, source.bytes)) // a point of cancellation, too
                }
                output.fd.sync()
            }
        }
    }

    /** Says at once that a film is not a bundle, instead of after copying it. */
    private fun requireMagic(source: BundleSource, block: ByteArray, count: Int) {
        if (count < MAGIC.size || !MAGIC.contentEquals(block.copyOf(MAGIC.size))) {
            throw FailureException(Failure.NotABundle(source.name))
        }
    }

    private fun requireSpace(bytes: Long) {
        val needed = bytes + marginBytes
        val free = freeBytes(folder)
        if (free < needed) throw FailureException(Failure.NoSpace(needed, free))
    }

    /** The disk may fill up during the copy, whatever was free before. */
    private fun reason(error: IOException, source: BundleSource): Failure {
        val detail = error.message.orEmpty()
        return if ("No space left" in detail || "ENOSPC" in detail) {
            Failure.NoSpace((source.bytes ?: 0) + marginBytes, freeBytes(folder))
        } else {
            Failure.ImportBroken(detail)
        }
    }
}

/** A name for the library from whatever a provider calls the file. */
fun bundleFileName(name: String): String {
    val plain = name.replace(Regex("[^\\p{L}\\p{N}_ .()+-]"), "_").trimStart('.')
    return plain.removeSuffix(SUFFIX).ifBlank { "bundle" } + SUFFIX
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
