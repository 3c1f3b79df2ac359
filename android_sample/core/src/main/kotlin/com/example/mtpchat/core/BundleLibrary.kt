package com.example.mtpchat.core

import java.io.File
import java.io.IOException
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
private val MAGIC = "LITERTLM".toByteArray()

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
    fun import(source: PickedFile): Flow<ImportEvent> = flow {
        folder.mkdirs()
        val target = File(folder, bundleFileName(source.name))
        val partial = File(target.path + PARTIAL)
        try {
            requireSpace(source.bytes ?: 0)
            copy(source, partial)
            readBundle(partial).also(::checkGraphs)
            Files.move(partial.toPath(), target.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
            emit(ImportEvent.Finished(readBundle(target)))
        } catch (error: IOException) {
            val needed = (source.bytes ?: 0) + marginBytes
            throw FailureException(copyFailure(error, needed, freeBytes(folder)), error)
        } finally {
            partial.delete()
        }
    }.flowOn(dispatcher)

    private suspend fun FlowCollector<ImportEvent>.copy(source: PickedFile, partial: File) =
        source.copyTo(partial) { block, count, copied ->
            if (copied == count.toLong()) requireMagic(source, block, count)
            emit(ImportEvent.Progress(copied, source.bytes)) // a point of cancellation, too
        }

    /** Says at once that a film is not a bundle, instead of after copying it. */
    private fun requireMagic(source: PickedFile, block: ByteArray, count: Int) {
        if (count < MAGIC.size || !MAGIC.contentEquals(block.copyOf(MAGIC.size))) {
            throw FailureException(Failure.NotABundle(source.name))
        }
    }

    private fun requireSpace(bytes: Long) {
        val needed = bytes + marginBytes
        val free = freeBytes(folder)
        if (free < needed) throw FailureException(Failure.NoSpace(needed, free))
    }
}

/** A name for the library from whatever a provider calls the file. */
fun bundleFileName(name: String): String {
    val plain = name.replace(Regex("[^\\p{L}\\p{N}_ .()+-]"), "_").trimStart('.')
    return plain.removeSuffix(SUFFIX).ifBlank { "bundle" } + SUFFIX
}
