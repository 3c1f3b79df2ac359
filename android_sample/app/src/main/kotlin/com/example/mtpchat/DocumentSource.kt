package com.example.mtpchat

import android.content.ContentResolver
import android.net.Uri
import android.provider.OpenableColumns
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.PickedFile
import java.io.IOException
import java.io.InputStream

/** A file that the user picked with the system's file picker. */
class DocumentSource(private val resolver: ContentResolver, private val uri: Uri) : PickedFile {
    override val name: String
    override val bytes: Long?

    init {
        val (displayName, size) = query()
        name = displayName ?: uri.lastPathSegment.orEmpty()
        bytes = size
    }

    /** What its provider says that it is; what it really is, only reading it tells. */
    val kind: AttachmentKind
        get() = if (resolver.getType(uri).orEmpty().startsWith("audio/")) {
            AttachmentKind.SOUND
        } else {
            AttachmentKind.PICTURE
        }

    override fun open(): InputStream = try {
        resolver.openInputStream(uri) ?: throw IOException("the file could not be opened")
    } catch (error: SecurityException) { // the permission to read it was taken back
        throw IOException(error.message, error)
    }

    /** Name and size; a provider may know neither. */
    private fun query(): Pair<String?, Long?> {
        val columns = arrayOf(OpenableColumns.DISPLAY_NAME, OpenableColumns.SIZE)
        return resolver.query(uri, columns, null, null, null)?.use { row ->
            if (row.moveToFirst()) row.getString(0) to (if (row.isNull(1)) null else row.getLong(1)) else null
        } ?: (null to null)
    }
}
