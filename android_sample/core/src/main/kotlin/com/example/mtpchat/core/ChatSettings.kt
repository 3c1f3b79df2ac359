package com.example.mtpchat.core

import kotlinx.coroutines.flow.StateFlow

/**
 * What the user chose.
 *
 * @property rebuildContext Start every turn from a conversation made anew with the history. LiteRT-LM
 *   0.18 continues a conversation on a cache in which the last stop token was never written properly;
 *   rebuilding costs a prefill of the history and gives the model exactly what was said.
 */
data class ChatSettings(
    val mtp: Boolean = true,
    val accelerator: AcceleratorChoice = AcceleratorChoice.AUTOMATIC,
    val showDrafts: Boolean = true,
    val rebuildContext: Boolean = true,
)

/** Keeps the settings between starts. */
interface SettingsStore {
    val settings: StateFlow<ChatSettings>

    fun save(settings: ChatSettings)
}
