package com.example.mtpchat

import android.content.ContentResolver
import android.net.Uri
import android.provider.OpenableColumns
import com.example.mtpchat.core.BundleSource
import com.example.mtpchat.core.bundleFileName
import java.io.IOException
import java.io.InputStream

/** A file that the user picked with the system's file picker. */
class DocumentSource(private val resolver: ContentResolver, private val uri: Uri) : BundleSource {
    override val name: String
    override val bytes: Long?

    init {
        val (displayName, size) = query()
        name = bundleFileName(displayName ?: uri.lastPathSegment.orEmpty())
        bytes = size
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
