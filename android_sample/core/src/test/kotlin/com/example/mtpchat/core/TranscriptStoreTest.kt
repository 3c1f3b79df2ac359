package com.example.mtpchat.core

import java.io.File
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals

class TranscriptStoreTest {
    private val folder = createTempDirectory().toFile()
    private val file = File(folder, "chat.json")

    @AfterTest
    fun tidy() {
        folder.deleteRecursively()
    }

    @Test
    fun whatIsSavedComesBack() {
        val messages = listOf(
            ChatMessage(Speaker.USER, "\"quoted\"\nline é 😀"),
            ChatMessage(Speaker.MODEL, "a", Ending.STOPPED),
            ChatMessage(
                Speaker.USER,
                "",
                attachments = listOf(
                    Attachment(AttachmentKind.PICTURE, File(folder, "1"), "my \"photo\".jpg"),
                    Attachment(AttachmentKind.SOUND, File(folder, "2"), "a.wav"),
                ),
            ),
        )
        TranscriptStore(file).save(messages)
        assertEquals(messages, TranscriptStore(file).load())
        assertEquals(listOf("chat.json"), folder.list().orEmpty().toList())
    }

    @Test
    fun nothingOrDamageIsAnEmptyConversation() {
        assertEquals(emptyList(), TranscriptStore(file).load())
        file.writeText("[{\"speaker\":\"USER\",\"text\":\"q\",\"attachments\":[{\"kind\":\"SMELL\"}]}]")
        assertEquals(emptyList(), TranscriptStore(file).load())
        file.writeText("[{\"speaker\":\"NOBODY\"")
        assertEquals(emptyList(), TranscriptStore(file).load())
    }
}
