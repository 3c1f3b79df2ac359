package com.google.ai.edge.litertlm

import com.google.gson.JsonArray
import com.google.gson.JsonObject

enum class Role(val value: String) { USER("user"), MODEL("model") }

class Message internal constructor(val role: Role, val contents: Contents) {
    internal fun toJson() = JsonObject().apply {
        addProperty("role", role.value)
        add("content", contents.toJson())
    }

    override fun toString(): String = contents.toString()

    companion object {
        fun user(text: String): Message = user(Contents.of(text))

        fun user(contents: Contents): Message = Message(Role.USER, contents)

        fun model(text: String): Message = Message(Role.MODEL, Contents.of(text))
    }
}

class Contents private constructor(val contents: List<Content>) {
    internal fun toJson() = JsonArray().apply { contents.forEach { add(it.toJson()) } }

    override fun toString(): String = contents.joinToString("")

    companion object {
        fun of(text: String): Contents = of(listOf(Content.Text(text)))

        fun of(contents: List<Content>): Contents = Contents(contents)
    }
}

sealed class Content {
    internal abstract fun toJson(): JsonObject

    data class Text(val text: String) : Content() {
        override fun toJson() = JsonObject().apply {
            addProperty("type", "text")
            addProperty("text", text)
        }

        override fun toString(): String = text
    }

    data class ImageFile(val absolutePath: String) : Content() {
        override fun toJson() = fileJson("image", absolutePath)
    }

    data class AudioFile(val absolutePath: String) : Content() {
        override fun toJson() = fileJson("audio", absolutePath)
    }
}

private fun fileJson(type: String, path: String) = JsonObject().apply {
    addProperty("type", type)
    addProperty("path", path)
}

interface MessageCallback {
    fun onMessage(message: Message)

    fun onDone()

    fun onError(throwable: Throwable)
}
