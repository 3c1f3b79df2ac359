package com.example.mtpchat

import android.content.Context
import android.text.format.Formatter
import com.example.mtpchat.core.AbReport
import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.ReplyStats
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.medianSpeed

private const val DETAIL_LIMIT = 200

/**
 * Says in the user's language what `core` says in types.
 *
 * @param string Resolves a string resource with its arguments.
 * @param size Words a number of bytes.
 */
class Wording(
    private val string: (Int, Array<out Any>) -> String,
    private val size: (Long) -> String,
) {
    constructor(context: Context) : this(
        { id, arguments -> context.getString(id, *arguments) },
        { bytes -> Formatter.formatShortFileSize(context, bytes) },
    )

    fun text(id: Int, vararg arguments: Any): String = string(id, arguments)

    fun bytes(count: Long): String = size(count)

    fun mode(mode: RunMode): String = text(
        when (mode.accelerator) {
            Accelerator.GPU -> if (mode.mtp) R.string.mode_gpu_mtp else R.string.mode_gpu
            Accelerator.CPU -> if (mode.mtp) R.string.mode_cpu_mtp else R.string.mode_cpu
        },
    )

    fun failure(failure: Failure): String = when (failure) {
        is Failure.NotABundle -> text(R.string.fail_not_bundle, failure.name)
        is Failure.DamagedBundle -> text(R.string.fail_damaged, failure.detail)
        is Failure.UnsupportedFormat -> text(R.string.fail_format, failure.version)
        is Failure.MissingFile -> text(R.string.fail_missing, failure.path.substringAfterLast('/'))
        is Failure.NoSpace -> text(R.string.fail_space, size(failure.neededBytes), size(failure.freeBytes))
        is Failure.ImportBroken -> text(R.string.fail_import, failure.detail)
        is Failure.MadeFor -> text(R.string.fail_made_for, mode(RunMode(failure.accelerator, mtp = false)))
        is Failure.NoDrafter -> text(R.string.fail_no_drafter)
        is Failure.ModeRefused, is Failure.ModeCrashed, is Failure.ModeAvoided -> setback(failure)
        is Failure.NothingWorked ->
            text(R.string.fail_nothing_worked, failure.attempts.joinToString(" ", transform = ::setback))
        is Failure.ContextFull -> failure.limitTokens?.let { text(R.string.fail_context, it) }
            ?: text(R.string.fail_context_unknown)
        is Failure.AttachmentTooLarge ->
            text(R.string.fail_attachment_large, failure.name, size(failure.limitBytes))
        is Failure.AttachmentUnreadable -> when (failure.kind) {
            AttachmentKind.PICTURE -> text(R.string.fail_picture_unreadable, failure.name)
            AttachmentKind.SOUND -> text(R.string.fail_sound_unreadable, failure.name)
        }
        is Failure.AttachmentGone -> text(R.string.fail_attachment_gone, failure.name)
        is Failure.AttachmentNotTaken -> when (failure.kind) {
            AttachmentKind.PICTURE -> text(R.string.fail_no_pictures)
            AttachmentKind.SOUND -> text(R.string.fail_no_sound)
        }
        is Failure.MicrophoneDenied -> text(R.string.fail_microphone_denied)
        is Failure.RecordingBroken -> text(R.string.fail_recording, failure.detail)
        is Failure.ReplyBroken -> text(R.string.fail_reply, failure.detail.take(DETAIL_LIMIT))
    }

    /** A failure that the app found a way around. */
    fun setback(failure: Failure): String = when (failure) {
        is Failure.NoDrafter -> text(R.string.setback_no_drafter)
        is Failure.ModeRefused -> text(R.string.setback_refused, mode(failure.mode))
        is Failure.ModeCrashed -> text(R.string.setback_crashed, mode(failure.mode))
        is Failure.ModeAvoided -> text(R.string.setback_avoided, mode(failure.mode))
        else -> failure(failure)
    }

    fun attachment(attachment: Attachment): String = when (attachment.kind) {
        AttachmentKind.PICTURE -> text(R.string.picture_named, attachment.name)
        AttachmentKind.SOUND -> text(R.string.sound_named, attachment.name)
    }

    /** What the button to attach is for. */
    fun attach(kinds: Set<AttachmentKind>): String = text(
        when (kinds.singleOrNull()) {
            AttachmentKind.PICTURE -> R.string.attach_picture
            AttachmentKind.SOUND -> R.string.attach_sound
            null -> R.string.attach
        },
    )

    /** The small print under a reply: how it ended, how fast it was. */
    fun footnote(message: ChatMessage, showDrafts: Boolean): String = listOfNotNull(
        message.ending?.let(::ending),
        message.stats?.let(::stats),
        message.stats?.drafts?.takeIf { showDrafts }?.let {
            text(R.string.drafts, it.accepted, it.drafted, (100 * it.rate).toInt())
        },
    ).joinToString("\n")

    fun comparison(report: AbReport): String {
        val speed = if (report.ratio >= 1) R.string.compare_result else R.string.compare_slower
        val same = if (report.identical) R.string.compare_same else R.string.compare_differs
        return text(speed, report.ratio, report.on.medianSpeed(), report.off.medianSpeed()) + " " + text(same)
    }

    private fun ending(ending: Ending): String? = when (ending) {
        Ending.COMPLETE -> null
        Ending.STOPPED -> text(R.string.ended_stopped)
        Ending.CONTEXT_FULL -> text(R.string.ended_full)
        Ending.BROKEN -> text(R.string.ended_broken)
    }

    private fun stats(stats: ReplyStats): String =
        text(R.string.stats, stats.tokensPerSecond, stats.secondsToFirstToken, stats.replyTokens)
}
