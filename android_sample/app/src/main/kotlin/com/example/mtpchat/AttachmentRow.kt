package com.example.mtpchat

import android.view.LayoutInflater
import android.view.View
import android.widget.ImageButton
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView
import com.example.mtpchat.core.Attachment

/** Shows attachments one beside the other, in a bubble or above the composer. */
class AttachmentRow(
    private val row: LinearLayout,
    private val wording: Wording,
    private val thumbnails: Thumbnails,
) {
    /** @param onRemove What the button to take one back does; without, there is no button. */
    fun show(attachments: List<Attachment>, onRemove: ((Attachment) -> Unit)? = null) {
        row.removeAllViews()
        row.visibility = if (attachments.isEmpty()) View.GONE else View.VISIBLE
        attachments.forEach { row.addView(item(it, onRemove)) }
    }

    private fun item(attachment: Attachment, onRemove: ((Attachment) -> Unit)?): View {
        val view = LayoutInflater.from(row.context).inflate(R.layout.item_attachment, row, false)
        val bitmap = thumbnails[attachment]
        view.findViewById<ImageView>(R.id.attachment_picture).apply {
            setImageBitmap(bitmap)
            contentDescription = wording.attachment(attachment)
            visibility = if (bitmap == null) View.GONE else View.VISIBLE
        }
        view.findViewById<TextView>(R.id.attachment_name).apply {
            text = wording.attachment(attachment)
            visibility = if (bitmap == null) View.VISIBLE else View.GONE
        }
        view.findViewById<ImageButton>(R.id.attachment_remove).apply {
            contentDescription = wording.text(R.string.remove, attachment.name)
            visibility = if (onRemove == null) View.GONE else View.VISIBLE
            setOnClickListener { onRemove?.invoke(attachment) }
        }
        return view
    }
}
