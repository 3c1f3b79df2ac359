package com.example.mtpchat

import android.view.LayoutInflater
import android.view.View
import android.view.ViewGroup
import android.widget.BaseAdapter
import android.widget.TextView
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.ReplyState
import com.example.mtpchat.core.Speaker

/** One bubble, in words. */
data class Row(
    val speaker: Speaker,
    val text: String,
    val footnote: String,
    val attachments: List<Attachment> = emptyList(),
)

/** The conversation as rows, the reply that is being written included. */
fun Wording.rows(state: ChatState, settings: ChatSettings): List<Row> =
    state.messages.map { Row(it.speaker, it.text, footnote(it, settings.showDrafts), it.attachments) } +
        when (val reply = state.reply) {
            is ReplyState.Idle -> emptyList()
            is ReplyState.Prefilling -> listOf(Row(Speaker.MODEL, "…", text(R.string.reading_prompt)))
            is ReplyState.Streaming -> listOf(Row(Speaker.MODEL, reply.text, ""))
            is ReplyState.Stopping -> listOf(Row(Speaker.MODEL, reply.text, text(R.string.stopping)))
        }

/** Shows [Row]s in a list. */
class MessageAdapter(private val wording: Wording, private val thumbnails: Thumbnails) : BaseAdapter() {
    private var rows: List<Row> = emptyList()

    fun show(rows: List<Row>) {
        if (rows == this.rows) return
        this.rows = rows
        notifyDataSetChanged()
    }

    override fun getCount(): Int = rows.size

    override fun getItem(position: Int): Any = rows[position]

    override fun getItemId(position: Int): Long = position.toLong()

    override fun getViewTypeCount(): Int = Speaker.entries.size

    override fun getItemViewType(position: Int): Int = rows[position].speaker.ordinal

    override fun getView(position: Int, convertView: View?, parent: ViewGroup): View {
        val row = rows[position]
        val layout = if (row.speaker == Speaker.USER) R.layout.item_user else R.layout.item_model
        val view = convertView ?: LayoutInflater.from(parent.context).inflate(layout, parent, false)
        val who = if (row.speaker == Speaker.USER) R.string.you_said else R.string.model_said
        view.findViewById<TextView>(R.id.text).apply {
            text = row.text
            contentDescription = wording.text(who, row.text)
            visibility = if (row.text.isEmpty() && row.attachments.isNotEmpty()) View.GONE else View.VISIBLE
        }
        if (row.speaker == Speaker.USER) {
            AttachmentRow(view.findViewById(R.id.attachments), wording, thumbnails).show(row.attachments)
        }
        view.findViewById<TextView>(R.id.footnote).apply {
            text = row.footnote
            visibility = if (row.footnote.isEmpty()) View.GONE else View.VISIBLE
        }
        return view
    }
}
