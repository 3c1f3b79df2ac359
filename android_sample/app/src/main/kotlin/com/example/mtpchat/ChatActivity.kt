package com.example.mtpchat

import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.os.Bundle
import com.example.mtpchat.core.AbPlan
import com.example.mtpchat.core.ChatSession
import kotlinx.coroutines.Job
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch

private const val PICK_BUNDLE = 1

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
        screen = ChatScreen(findViewById(R.id.root), Wording(this), this)
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

    override fun importBundle() {
        val pick = Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType("*/*") // providers know no type for bundles
        startActivityForResult(pick, PICK_BUNDLE)
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val uri = data?.data
        if (requestCode == PICK_BUNDLE && resultCode == RESULT_OK && uri != null) {
            session.import(DocumentSource(contentResolver, uri))
        }
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
