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
        fun user(text: String): Message = Message(Role.USER, Contents.of(text))

        fun model(text: String): Message = Message(Role.MODEL, Contents.of(text))
    }
}

class Contents private constructor(val contents: List<Content>) {
    internal fun toJson() = JsonArray().apply { contents.forEach { add(it.toJson()) } }

    override fun toString(): String = contents.joinToString("")

    companion object {
        fun of(text: String): Contents = Contents(listOf(Content.Text(text)))
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
}

interface MessageCallback {
    fun onMessage(message: Message)

    fun onDone()

    fun onError(throwable: Throwable)
}
