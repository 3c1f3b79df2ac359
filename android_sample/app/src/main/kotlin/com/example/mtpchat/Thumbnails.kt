package com.example.mtpchat

import android.graphics.Bitmap
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

private const val SIDE = 192
private const val MOST_KEPT = 32

/**
 * Small pictures for the screen, decoded off the main thread.
 *
 * @param scope Of the main thread.
 */
class Thumbnails(private val scope: CoroutineScope) {
    private val bitmaps = mutableMapOf<File, Bitmap?>()

    /** Called when one more thumbnail is there. */
    var onLoaded: () -> Unit = {}

    /** Null if there is none, or none yet. */
    operator fun get(attachment: Attachment): Bitmap? {
        if (attachment.kind == AttachmentKind.PICTURE && attachment.file !in bitmaps) load(attachment.file)
        return bitmaps[attachment.file]
    }

    private fun load(file: File) {
        if (bitmaps.size >= MOST_KEPT) bitmaps.remove(bitmaps.keys.first())
        bitmaps[file] = null
        scope.launch {
            bitmaps[file] = withContext(Dispatchers.IO) { decodePicture(file, SIDE) } ?: return@launch
            onLoaded()
        }
    }
}
