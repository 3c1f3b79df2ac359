package com.example.mtpchat.core

import com.google.gson.JsonArray
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardCopyOption.REPLACE_EXISTING

/**
 * Keeps the conversation in a file, so that it outlives the process. Of attachments it keeps the paths;
 * statistics are not kept.
 */
class TranscriptStore(private val file: File) {

    /** The saved conversation; empty if there is none or it cannot be read. */
    fun load(): List<ChatMessage> = try {
        val text = if (file.isFile) file.readText() else "[]"
        JsonParser.parseString(text).asJsonArray.map { it.asJsonObject.message() }
    } catch (_: IOException) {
        emptyList()
    } catch (_: RuntimeException) { // a damaged file is worth no more than none
        emptyList()
    }

    /**
     * Replaces the saved conversation in one step.
     *
     * @throws IOException The disk is full, most likely.
     */
    fun save(messages: List<ChatMessage>) {
        val partial = File(file.path + ".part")
        partial.writeText(JsonArray().apply { messages.forEach { add(it.toJson()) } }.toString())
        Files.move(partial.toPath(), file.toPath(), ATOMIC_MOVE, REPLACE_EXISTING)
    }
}

private fun JsonObject.message() = ChatMessage(
    Speaker.valueOf(get("speaker").asString),
    get("text").asString,
    get("ending")?.let { Ending.valueOf(it.asString) },
    attachments = getAsJsonArray("attachments")?.map { it.asJsonObject.attachment() }.orEmpty(),
)

private fun JsonObject.attachment() = Attachment(
    AttachmentKind.valueOf(get("kind").asString),
    File(get("path").asString),
    get("name").asString,
)

private fun ChatMessage.toJson() = JsonObject().also { json ->
    json.addProperty("speaker", speaker.name)
    json.addProperty("text", text)
    ending?.let { json.addProperty("ending", it.name) }
    if (attachments.isNotEmpty()) {
        json.add("attachments", JsonArray().apply { attachments.forEach { add(it.toJson()) } })
    }
}

private fun Attachment.toJson() = JsonObject().also { json ->
    json.addProperty("kind", kind.name)
    json.addProperty("path", file.path)
    json.addProperty("name", name)
}
