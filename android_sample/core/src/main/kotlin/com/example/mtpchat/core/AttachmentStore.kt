package com.example.mtpchat.core

import java.io.File
import java.io.IOException
import java.util.UUID
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.withContext

private const val PARTIAL = ".part"
private const val BEGINNING_BYTES = 12

/**
 * The app's own folder of pictures and sounds. What was picked may go away, be of any size and of any
 * format; what is kept is there for as long as the conversation needs it, and the engine can read it.
 *
 * @param limitBytes The most that a picked file may have.
 * @param rewritePicture Writes the picture in the first file to the second, in a format and a size that
 *   suit the engine; false if the first holds none. Throws [IOException] if the second cannot be written.
 */
class AttachmentStore(
    private val folder: File,
    private val limitBytes: Long = 64L shl 20,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
    private val rewritePicture: (File, File) -> Boolean,
) {
    /**
     * Copies [source], off the caller's thread.
     *
     * @throws FailureException Too large, not of this kind, or the copy failed; nothing is left behind.
     */
    suspend fun keep(kind: AttachmentKind, source: PickedFile): Attachment = withContext(dispatcher) {
        folder.mkdirs()
        val kept = File(folder, UUID.randomUUID().toString())
        val partial = File(kept.path + PARTIAL)
        try {
            copy(source, partial)
            if (!settled(kind, partial, kept)) {
                throw FailureException(Failure.AttachmentUnreadable(kind, source.name))
            }
            Attachment(kind, kept, source.name)
        } catch (error: IOException) {
            throw FailureException(copyFailure(error, source.bytes ?: limitBytes, folder.usableSpace), error)
        } finally {
            partial.delete()
        }
    }

    /** Removes every file but these. */
    fun keepOnly(attachments: List<Attachment>) {
        val kept = attachments.map { it.file.name }.toSet()
        folder.listFiles().orEmpty().filter { it.name !in kept }.forEach(File::delete)
    }

    private fun copy(source: PickedFile, partial: File) {
        val known = source.bytes ?: 0
        if (known > limitBytes) tooLarge(source)
        source.copyTo(partial) { _, _, total -> if (total > limitBytes) tooLarge(source) }
    }

    /** Makes the copy what is kept; false if it is not what it should be. */
    private fun settled(kind: AttachmentKind, partial: File, kept: File): Boolean = when (kind) {
        AttachmentKind.PICTURE -> rewritePicture(partial, kept)
        AttachmentKind.SOUND -> partial.isSound() && partial.renameTo(kept)
    }

    private fun tooLarge(source: PickedFile): Nothing =
        throw FailureException(Failure.AttachmentTooLarge(source.name, limitBytes))
}

/** Whether it begins as the formats do that the engine decodes: WAV, FLAC, and MP3 with or without tags. */
private fun File.isSound(): Boolean {
    val beginning = ByteArray(BEGINNING_BYTES)
    inputStream().use { it.read(beginning) }
    val text = String(beginning, Charsets.ISO_8859_1)
    val isMp3Frame = text[0] == '\u00ff' && text[1].code and 0xe6 == 0xe2 // layer III, after eleven ones
    return text.startsWith("RIFF") && text.endsWith("WAVE") || text.startsWith("fLaC") ||
        text.startsWith("ID3") || isMp3Frame
}
