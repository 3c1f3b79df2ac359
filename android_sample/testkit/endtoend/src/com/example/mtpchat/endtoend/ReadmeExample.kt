package com.example.mtpchat.endtoend

import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.ReplyEvent
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.readBundle
import com.example.mtpchat.litert.LiteRtLmRuntime
import java.io.File
import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.runBlocking

/** Runs the README's example, its text between the marks, and returns what it printed. */
fun readmeExample(file: File): String = runBlocking {
    val cacheDir = createTempDirectory().toFile()
    val history = emptyList<ChatMessage>()
    val printed = StringBuilder()
    fun print(text: String) = printed.append(text)

    // README {
    val bundle = readBundle(file)
    val mode = RunMode(Accelerator.CPU, mtp = bundle.hasDrafter)
    val model = LiteRtLmRuntime(weightCache = cacheDir).load(bundle, mode)
    val options = ReplyOptions(mtp = bundle.hasDrafter)
    model.reply(history, "Tell me a story about a bear.", options).collect { event ->
        if (event is ReplyEvent.Text) print(event.piece)
    }
    model.close()
    // }
    cacheDir.deleteRecursively()
    printed.toString()
}
