package com.example.mtpchat.core

import java.io.File

/** The most that goes with one message. */
const val MOST_ATTACHMENTS = 4

enum class AttachmentKind { PICTURE, SOUND }

/**
 * A picture or a sound that goes with a message: a copy of the app's own, see [AttachmentStore].
 *
 * @property name What the user's file was called.
 */
data class Attachment(val kind: AttachmentKind, val file: File, val name: String)

/**
 * Says in words what an engine would say in codes, or in other words every time.
 *
 * @throws FailureException The bundle takes no such attachments, or the file of one of them is gone.
 */
fun ModelBundle.requireTaken(messages: List<ChatMessage>) {
    for (attachment in messages.flatMap { it.attachments }) {
        if (attachment.kind !in takes) throw FailureException(Failure.AttachmentNotTaken(attachment.kind))
        if (!attachment.file.isFile) throw FailureException(Failure.AttachmentGone(attachment.name))
    }
}

/**
 * How many pixels in a row a decoder should make one of, a power of two, so that the longer side keeps at
 * least [side] pixels, if it has them, and less than twice as many.
 */
fun sampleSize(width: Int, height: Int, side: Int): Int =
    Integer.highestOneBit(maxOf(1, maxOf(width, height) / side))
