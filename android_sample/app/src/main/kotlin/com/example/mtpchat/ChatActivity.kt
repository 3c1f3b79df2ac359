package com.example.mtpchat

import android.Manifest
import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.content.pm.PackageManager
import android.os.Bundle
import com.example.mtpchat.core.AbPlan
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatSession
import com.example.mtpchat.core.RecordingState
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch

private const val PICK_BUNDLE = 1
private const val PICK_ATTACHMENT = 2
private const val MAY_RECORD = 3

/**
 * The chat. Everything it shows is in the session's state, which outlives it; the text being typed is
 * kept by its view.
 */
class ChatActivity : Activity(), ChatActions {
    private val app get() = application as ChatApplication
    private val session: ChatSession get() = app.session
    private lateinit var screen: ChatScreen
    private var rendering: Job? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_chat)
        screen = ChatScreen(findViewById(R.id.root), Wording(this), this, Thumbnails(app.scope))
        app.openLastBundle()
    }

    override fun onStart() {
        super.onStart()
        rendering = app.scope.launch {
            combine(session.state, app.settings.settings, ::Pair)
                .collect { (state, settings) -> screen.render(state, settings) }
        }
    }

    override fun onStop() {
        rendering?.cancel()
        super.onStop()
    }

    override fun send(prompt: String) = session.send(prompt)

    override fun stop() = session.stop()

    override fun pressed(button: NoticeButton) = when (button) {
        NoticeButton.DISMISS -> session.dismissNotice()
        NoticeButton.CANCEL_IMPORT -> session.cancelImport()
        NoticeButton.STOP_COMPARING -> session.stop()
    }

    override fun chosen(menuItem: Int): Boolean {
        when (menuItem) {
            R.id.menu_new_chat -> session.newChat()
            R.id.menu_compare -> session.compare(AbPlan(getString(R.string.compare_prompt)))
            R.id.menu_choose -> chooseBundle()
            R.id.menu_import -> importBundle()
            R.id.menu_settings -> startActivity(Intent(this, SettingsActivity::class.java))
            else -> return false
        }
        return true
    }

    override fun importBundle() = pick(PICK_BUNDLE, listOf("*/*")) // providers know no type for bundles

    override fun attach() = pick(PICK_ATTACHMENT, session.state.value.attachable.map(::mimeType))

    override fun record() {
        session.record(mayRecord = allowed(checkSelfPermission(Manifest.permission.RECORD_AUDIO)))
        if (session.state.value.recording is RecordingState.Asking) {
            requestPermissions(arrayOf(Manifest.permission.RECORD_AUDIO), MAY_RECORD)
        }
    }

    override fun stopRecording() = session.stopRecording()

    override fun onRequestPermissionsResult(
        requestCode: Int,
        permissions: Array<String>,
        grantResults: IntArray,
    ) {
        super.onRequestPermissionsResult(requestCode, permissions, grantResults)
        if (requestCode == MAY_RECORD) session.answeredMayRecord(grantResults.any(::allowed))
    }

    private fun allowed(result: Int) = result == PackageManager.PERMISSION_GRANTED

    override fun detach(attachment: Attachment) = session.detach(attachment)

    /** The system's file picker, which needs no permission. */
    private fun pick(request: Int, types: List<String>) {
        val pick = Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType(types.singleOrNull() ?: "*/*")
            .putExtra(Intent.EXTRA_MIME_TYPES, types.toTypedArray())
        startActivityForResult(pick, request)
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val uri = data?.data
        if (resultCode != RESULT_OK || uri == null) return
        val document = DocumentSource(contentResolver, uri)
        when (requestCode) {
            PICK_BUNDLE -> session.import(document)
            PICK_ATTACHMENT -> session.attach(document.kind, document)
        }
    }

    private fun mimeType(kind: AttachmentKind): String = when (kind) {
        AttachmentKind.PICTURE -> "image/*"
        AttachmentKind.SOUND -> "audio/*"
    }

    private fun chooseBundle() {
        val files = app.library.files()
        if (files.isEmpty()) return importBundle()
        AlertDialog.Builder(this)
            .setTitle(R.string.choose_bundle)
            .setItems(files.map { it.name }.toTypedArray()) { _, index -> session.open(files[index]) }
            .show()
    }
}
