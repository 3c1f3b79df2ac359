package com.example.mtpchat

import android.view.View
import android.widget.Button
import android.widget.EditText
import android.widget.ImageButton
import android.widget.ListView
import android.widget.ProgressBar
import android.widget.TextView
import android.widget.Toolbar
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.RecordingState

private const val PROGRESS_MAX = 1000

/** What the user can ask of the chat screen. */
interface ChatActions {
    fun send(prompt: String)

    fun stop()

    fun importBundle()

    fun attach()

    fun record()

    fun stopRecording()

    fun detach(attachment: Attachment)

    fun pressed(button: NoticeButton)

    /** @return Whether the menu item is known. */
    fun chosen(menuItem: Int): Boolean
}

/** Puts a [ChatState] on the views of `activity_chat`, and hands what the user does to [actions]. */
class ChatScreen(
    root: View,
    private val wording: Wording,
    private val actions: ChatActions,
    private val thumbnails: Thumbnails,
) {
    private val toolbar: Toolbar = root.findViewById(R.id.toolbar)
    private val progress: ProgressBar = root.findViewById(R.id.progress)
    private val notice: View = root.findViewById(R.id.notice)
    private val noticeText: TextView = root.findViewById(R.id.notice_text)
    private val noticeButton: Button = root.findViewById(R.id.notice_button)
    private val messages: ListView = root.findViewById(R.id.messages)
    private val empty: View = root.findViewById(R.id.empty)
    private val emptyTitle: TextView = root.findViewById(R.id.empty_title)
    private val emptyText: TextView = root.findViewById(R.id.empty_text)
    private val emptyButton: Button = root.findViewById(R.id.empty_button)
    private val attached = AttachmentRow(root.findViewById(R.id.attached), wording, thumbnails)
    private val attach: ImageButton = root.findViewById(R.id.attach)
    private val record: ImageButton = root.findViewById(R.id.record)
    private val prompt: EditText = root.findViewById(R.id.prompt)
    private val send: ImageButton = root.findViewById(R.id.send)
    private val adapter = MessageAdapter(wording, thumbnails)

    init {
        toolbar.inflateMenu(R.menu.chat)
        toolbar.setOnMenuItemClickListener { actions.chosen(it.itemId) }
        emptyButton.setOnClickListener { actions.importBundle() }
        messages.adapter = adapter
        messages.emptyView = empty
        attach.setOnClickListener { actions.attach() }
    }

    fun render(state: ChatState, settings: ChatSettings) {
        renderModel(state.model)
        renderNotice(wording.notice(state))
        renderProgress(state)
        renderComposer(state)
        renderAttached(state)
        thumbnails.onLoaded = {
            renderAttached(state)
            adapter.notifyDataSetChanged()
        }
        toolbar.menu.findItem(R.id.menu_compare).isEnabled = state.canCompare
        adapter.show(wording.rows(state, settings))
    }

    private fun renderModel(model: ModelState) {
        val ready = model as? ModelState.Ready
        toolbar.title = ready?.bundle?.name ?: wording.text(R.string.app_name)
        toolbar.subtitle = ready?.let { wording.mode(it.mode) }
        val none = model is ModelState.None
        emptyTitle.visibility = if (none) View.VISIBLE else View.GONE
        emptyButton.visibility = if (none) View.VISIBLE else View.GONE
        emptyText.text = wording.text(if (none) R.string.no_bundle_text else R.string.empty_chat)
    }

    private fun renderNotice(shown: Notice?) {
        notice.visibility = if (shown == null) View.GONE else View.VISIBLE
        if (shown == null) return
        if (shown.text != noticeText.text.toString()) noticeText.text = shown.text
        val button = shown.button
        noticeButton.visibility = if (button == null) View.GONE else View.VISIBLE
        if (button == null) return
        noticeButton.text = wording.text(button.label)
        noticeButton.setOnClickListener { actions.pressed(button) }
    }

    private fun renderProgress(state: ChatState) {
        val import = state.import
        val total = import?.totalBytes
        val loading = state.model is ModelState.Checking || state.model is ModelState.Trying
        progress.visibility = if (import != null || loading) View.VISIBLE else View.GONE
        progress.isIndeterminate = total == null
        if (import != null && total != null && total > 0) {
            progress.progress = (PROGRESS_MAX * import.copiedBytes / total).toInt()
        }
    }

    private fun renderComposer(state: ChatState) {
        val replying = state.isReplying
        send.setImageResource(if (replying) R.drawable.ic_stop else R.drawable.ic_send)
        send.contentDescription = wording.text(if (replying) R.string.stop else R.string.send)
        send.isEnabled = replying || state.canSend
        send.setOnClickListener {
            if (replying) actions.stop() else sendPrompt(mayBeBlank = state.attached.isNotEmpty())
        }
    }

    private fun renderAttached(state: ChatState) {
        attach.visibility = if (state.attachable.isEmpty()) View.GONE else View.VISIBLE
        attach.isEnabled = state.canAttach
        attach.contentDescription = wording.attach(state.attachable)
        attached.show(state.attached, actions::detach)
        renderRecord(state)
    }

    private fun renderRecord(state: ChatState) {
        val running = state.recording is RecordingState.Running
        record.visibility = if (AttachmentKind.SOUND in state.attachable) View.VISIBLE else View.GONE
        record.isEnabled = running || state.canRecord
        record.setImageResource(if (running) R.drawable.ic_stop else R.drawable.ic_record)
        record.contentDescription = wording.text(if (running) R.string.stop_recording else R.string.record)
        record.setOnClickListener { if (running) actions.stopRecording() else actions.record() }
    }

    private fun sendPrompt(mayBeBlank: Boolean) {
        val text = prompt.text.toString().trim()
        if (text.isEmpty() && !mayBeBlank) return
        actions.send(text)
        prompt.setText("")
    }
}
