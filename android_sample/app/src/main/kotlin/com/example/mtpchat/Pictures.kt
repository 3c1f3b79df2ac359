package com.example.mtpchat

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Matrix
import android.media.ExifInterface
import com.example.mtpchat.core.sampleSize
import java.io.File
import java.io.FileOutputStream
import java.io.IOException

/** Vision towers see less than this; see [sampleSize]. */
private const val SIDE_KEPT = 1024
private const val JPEG_QUALITY = 95

/**
 * Whatever Android can decode as an upright JPEG of a moderate size. The engine itself knows neither
 * HEIC nor WebP, nor how the camera was held, and it would take a transparent background for black.
 *
 * @return False if [from] holds no picture.
 * @throws IOException [to] cannot be written.
 */
fun rewritePicture(from: File, to: File): Boolean {
    val decoded = decodePicture(from, SIDE_KEPT) ?: return false
    val picture = decoded.turned(degreesToTurn(from)).onWhite()
    FileOutputStream(to).use {
        if (!picture.compress(Bitmap.CompressFormat.JPEG, JPEG_QUALITY, it)) {
            throw IOException("the picture could not be written")
        }
    }
    return true
}

/** Decodes no more pixels than the longer side needs to have at least [side]; null if it is no picture. */
fun decodePicture(file: File, side: Int): Bitmap? {
    val options = BitmapFactory.Options()
    options.inJustDecodeBounds = true
    BitmapFactory.decodeFile(file.path, options)
    if (options.outWidth <= 0 || options.outHeight <= 0) return null
    options.inJustDecodeBounds = false
    options.inSampleSize = sampleSize(options.outWidth, options.outHeight, side)
    return BitmapFactory.decodeFile(file.path, options)
}

private fun degreesToTurn(file: File): Float = try {
    val tag = ExifInterface(file.path).getAttributeInt(
        ExifInterface.TAG_ORIENTATION, ExifInterface.ORIENTATION_NORMAL,
    )
    when (tag) {
        ExifInterface.ORIENTATION_ROTATE_90 -> 90f
        ExifInterface.ORIENTATION_ROTATE_180 -> 180f
        ExifInterface.ORIENTATION_ROTATE_270 -> 270f
        else -> 0f
    }
} catch (_: IOException) { // a format that has no such data
    0f
}

private fun Bitmap.turned(degrees: Float): Bitmap {
    if (degrees == 0f) return this
    val turn = Matrix().apply { postRotate(degrees) }
    return Bitmap.createBitmap(this, 0, 0, width, height, turn, true)
}

private fun Bitmap.onWhite(): Bitmap {
    if (!hasAlpha()) return this
    val opaque = Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888)
    Canvas(opaque).apply {
        drawColor(Color.WHITE)
        drawBitmap(this@onWhite, 0f, 0f, null)
    }
    return opaque
}
