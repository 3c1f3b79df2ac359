package com.example.mtpchat

import android.app.Activity
import android.os.Bundle
import android.widget.RadioGroup
import android.widget.Switch
import com.example.mtpchat.core.AcceleratorChoice
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.SettingsStore

/** The settings; every change counts at once. */
class SettingsActivity : Activity() {
    private val store: SettingsStore get() = (application as ChatApplication).settings
    private val choices = mapOf(
        AcceleratorChoice.AUTOMATIC to R.id.accelerator_automatic,
        AcceleratorChoice.GPU_ONLY to R.id.accelerator_gpu,
        AcceleratorChoice.CPU_ONLY to R.id.accelerator_cpu,
    )

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.activity_settings)
        bind(R.id.mtp, ChatSettings::mtp) { copy(mtp = it) }
        bind(R.id.drafts, ChatSettings::showDrafts) { copy(showDrafts = it) }
        bind(R.id.rebuild, ChatSettings::rebuildContext) { copy(rebuildContext = it) }
        findViewById<RadioGroup>(R.id.accelerator).apply {
            check(choices.getValue(store.settings.value.accelerator))
            setOnCheckedChangeListener { _, id ->
                val choice = choices.entries.first { it.value == id }.key
                store.save(store.settings.value.copy(accelerator = choice))
            }
        }
    }

    private fun bind(
        id: Int,
        read: (ChatSettings) -> Boolean,
        changed: ChatSettings.(Boolean) -> ChatSettings,
    ) {
        findViewById<Switch>(id).apply {
            isChecked = read(store.settings.value)
            setOnCheckedChangeListener { _, on -> store.save(store.settings.value.changed(on)) }
        }
    }
}
