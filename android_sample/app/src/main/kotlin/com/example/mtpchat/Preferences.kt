package com.example.mtpchat

import android.content.SharedPreferences
import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.AcceleratorChoice
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ModeMemory
import com.example.mtpchat.core.ModeRecord
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.SettingsStore
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow

private const val MTP = "mtp"
private const val ACCELERATOR = "accelerator"
private const val SHOW_DRAFTS = "show_drafts"
private const val REBUILD = "rebuild_context"

/** The settings, in the app's preferences. */
class PreferenceSettings(private val preferences: SharedPreferences) : SettingsStore {
    private val mutable = MutableStateFlow(read())
    override val settings: StateFlow<ChatSettings> = mutable.asStateFlow()

    override fun save(settings: ChatSettings) {
        preferences.edit()
            .putBoolean(MTP, settings.mtp)
            .putString(ACCELERATOR, settings.accelerator.name)
            .putBoolean(SHOW_DRAFTS, settings.showDrafts)
            .putBoolean(REBUILD, settings.rebuildContext)
            .apply()
        mutable.value = settings
    }

    private fun read(): ChatSettings {
        val defaults = ChatSettings()
        val accelerator = preferences.getString(ACCELERATOR, null)
        return ChatSettings(
            mtp = preferences.getBoolean(MTP, defaults.mtp),
            accelerator = AcceleratorChoice.entries.find { it.name == accelerator } ?: defaults.accelerator,
            showDrafts = preferences.getBoolean(SHOW_DRAFTS, defaults.showDrafts),
            rebuildContext = preferences.getBoolean(REBUILD, defaults.rebuildContext),
        )
    }
}

/** What did not work, in the app's preferences. A new [engineVersion] starts from a clean sheet. */
class PreferenceModeMemory(
    private val preferences: SharedPreferences,
    private val engineVersion: String,
) : ModeMemory {
    override fun recall(bundle: String): ModeRecord = ModeRecord(
        failed = preferences.getStringSet(key("failed", bundle), null).orEmpty().mapNotNull(::mode).toSet(),
        attempting = preferences.getString(key("attempting", bundle), null)?.let(::mode),
    )

    /** With commit, not apply: the process may end right after this. */
    override fun remember(bundle: String, record: ModeRecord) {
        val written = preferences.edit()
            .putStringSet(key("failed", bundle), record.failed.map { it.code }.toSet())
            .putString(key("attempting", bundle), record.attempting?.code)
            .commit()
        check(written) { "the preferences could not be written" }
    }

    private fun key(what: String, bundle: String) = "$what/$engineVersion/$bundle"

    private val RunMode.code get() = "${accelerator.name} $mtp"

    private fun mode(code: String): RunMode? =
        Accelerator.entries.flatMap { listOf(RunMode(it, true), RunMode(it, false)) }.find { it.code == code }
}
