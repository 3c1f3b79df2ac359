package com.example.mtpchat.core

/**
 * What can go wrong, as far as a user can do something about it.
 *
 * The app words each of these in its own resources; [detail] texts come from the system or the engine
 * and are shown small, below that wording.
 */
sealed interface Failure {
    /** The chosen file is something else than a `.litertlm` bundle. */
    data class NotABundle(val name: String) : Failure

    /** The file begins like a bundle but breaks off or contradicts itself. */
    data class DamagedBundle(val detail: String) : Failure

    /** The bundle's format is newer (or older) than this app reads. */
    data class UnsupportedFormat(val version: String) : Failure

    /** The file at this path went away. */
    data class MissingFile(val path: String) : Failure

    /** The device has less free space than the bundle needs. */
    data class NoSpace(val neededBytes: Long, val freeBytes: Long) : Failure

    /** Reading the source or writing the copy failed half-way. */
    data class ImportBroken(val detail: String) : Failure

    /** The bundle's graphs are for this accelerator, and another one was asked for. */
    data class MadeFor(val accelerator: Accelerator) : Failure

    /** Speculative decoding was asked of a bundle that has no drafter. */
    data object NoDrafter : Failure

    /** The engine refused this way of running. */
    data class ModeRefused(val mode: RunMode, val detail: String) : Failure

    /** The process ended while the engine was being started in this mode. */
    data class ModeCrashed(val mode: RunMode) : Failure

    /** The engine refused this way of running some time before, so it was not tried again. */
    data class ModeAvoided(val mode: RunMode) : Failure

    /** Every way of running was refused, in this order. */
    data class NothingWorked(val attempts: List<Failure>) : Failure

    /** The conversation, the new question included, fills the context (null: of unknown length). */
    data class ContextFull(val limitTokens: Int?) : Failure

    /** A file to attach has more bytes than the app keeps. */
    data class AttachmentTooLarge(val name: String, val limitBytes: Long) : Failure

    /** A file to attach is no picture, or no sound, that can be read. */
    data class AttachmentUnreadable(val kind: AttachmentKind, val name: String) : Failure

    /** The app's copy of an attachment that the model would have to see went away. */
    data class AttachmentGone(val name: String) : Failure

    /** The conversation has an attachment of a kind that this bundle does not take. */
    data class AttachmentNotTaken(val kind: AttachmentKind) : Failure

    /** The user has not let the app use the microphone. */
    data object MicrophoneDenied : Failure

    /** There is no microphone, or it was taken away. */
    data class RecordingBroken(val detail: String) : Failure

    /** The engine failed in the middle of a reply. */
    data class ReplyBroken(val detail: String) : Failure
}

/** A [Failure] on its way up. */
class FailureException(val failure: Failure, cause: Throwable? = null) :
    Exception(failure.toString(), cause)
