package com.example.mtpchat.core

enum class Speaker { USER, MODEL }

/**
 * One bubble of the conversation.
 *
 * @property attachments What the user gave with the text, which may be blank then.
 * @property ending How the model came to its end; null for what the user said.
 */
data class ChatMessage(
    val speaker: Speaker,
    val text: String,
    val ending: Ending? = null,
    val stats: ReplyStats? = null,
    val attachments: List<Attachment> = emptyList(),
)

/** Why a reply ended. */
enum class Ending { COMPLETE, STOPPED, CONTEXT_FULL, BROKEN }
