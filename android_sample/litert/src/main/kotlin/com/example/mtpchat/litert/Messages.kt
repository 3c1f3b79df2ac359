package com.example.mtpchat.litert

import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.core.withoutControlTokens
import com.google.ai.edge.litertlm.Content
import com.google.ai.edge.litertlm.Contents
import com.google.ai.edge.litertlm.Message

/** What was said, as LiteRT-LM takes it. */
internal fun ChatMessage.toMessage(): Message = when (speaker) {
    Speaker.USER -> Message.user(contents())
    Speaker.MODEL -> Message.model(text)
}

/** Gemma's model card wants pictures and sound before the text about them. */
private fun ChatMessage.contents(): Contents {
    val said = if (text.isBlank()) emptyList() else listOf(Content.Text(text.withoutControlTokens()))
    return Contents.of(attachments.map { it.toContent() } + said)
}

private fun Attachment.toContent(): Content = when (kind) {
    AttachmentKind.PICTURE -> Content.ImageFile(file.absolutePath)
    AttachmentKind.SOUND -> Content.AudioFile(file.absolutePath)
}
