package com.example.mtpchat

import android.app.Application
import android.content.Context
import android.content.SharedPreferences
import android.os.Handler
import android.os.Looper
import com.example.mtpchat.core.AttachmentStore
import com.example.mtpchat.core.BundleLibrary
import com.example.mtpchat.core.ChatSession
import com.example.mtpchat.core.ModelLoader
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.SettingsStore
import com.example.mtpchat.core.SoundRecorder
import com.example.mtpchat.core.TranscriptStore
import com.example.mtpchat.litert.LiteRtLmRuntime
import java.io.File
import java.util.concurrent.Executor
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.launch

private const val LAST_BUNDLE = "last_bundle"

/** Holds what outlives a screen; everything is made when it is first asked for. */
class ChatApplication : Application() {
    private val preferences: SharedPreferences by lazy {
        getSharedPreferences("chat", Context.MODE_PRIVATE)
    }

    /** Coroutines here run on the main thread and end with the process. */
    val scope: CoroutineScope by lazy {
        val handler = Handler(Looper.getMainLooper())
        CoroutineScope(SupervisorJob() + Executor { handler.post(it) }.asCoroutineDispatcher())
    }

    val library: BundleLibrary by lazy { BundleLibrary(File(filesDir, "bundles")) }

    val runtime: LiteRtLmRuntime by lazy { LiteRtLmRuntime(weightCache = cacheDir) }

    val settings: SettingsStore by lazy { PreferenceSettings(preferences) }

    val session: ChatSession by lazy {
        ChatSession(
            ModelLoader(runtime, PreferenceModeMemory(preferences, getString(R.string.engine_version))),
            library,
            settings.settings,
            TranscriptStore(File(filesDir, "chat.json")),
            AttachmentStore(File(filesDir, "attachments"), rewritePicture = ::rewritePicture),
            SoundRecorder(::openMicrophone, cacheDir),
            scope,
        ).also(::rememberBundle)
    }

    /** Opens the bundle of last time, if it is still there and none is open. */
    fun openLastBundle() {
        val last = preferences.getString(LAST_BUNDLE, null)
        val file = last?.let(library::find) ?: library.files().firstOrNull()
        if (session.state.value.model is ModelState.None && file != null) session.open(file)
    }

    private fun rememberBundle(session: ChatSession) {
        scope.launch {
            session.state.collect { state ->
                val name = (state.model as? ModelState.Ready)?.bundle?.name
                if (name != null && name != preferences.getString(LAST_BUNDLE, null)) {
                    preferences.edit().putString(LAST_BUNDLE, name).apply()
                }
            }
        }
    }
}
