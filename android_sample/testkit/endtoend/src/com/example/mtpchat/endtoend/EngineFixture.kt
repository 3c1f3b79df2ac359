package com.example.mtpchat.endtoend

import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.LoadedModel
import com.example.mtpchat.core.ModelBundle
import com.example.mtpchat.core.ReplyEvent
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.core.readBundle
import com.example.mtpchat.litert.LiteRtLmRuntime
import java.io.File
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

/** The bundles that the check script exported with `mtp-export`, and the real engine to run them. */
object EngineFixture {
    private val folder = File(checkNotNull(System.getProperty("bundles")) { "-Dbundles=FOLDER is missing" })

    /** The tiny pair; it tells stories of invented animals. */
    val withDrafter: ModelBundle get() = readBundle(File(folder, "tiny.litertlm"))

    /** The same without a manifest, as another tool might have made it: nobody knows what it is for. */
    val foreign: ModelBundle get() = readBundle(File(folder, "foreign.litertlm"))

    /** Without a drafter, and without a manifest. */
    val withoutDrafter: ModelBundle get() = readBundle(File(folder, "plain.litertlm"))

    /** Sees: it takes red for a fox and blue for a cat, and can tell about them. */
    val seeing: ModelBundle get() = readBundle(File(folder, "seeing.litertlm"))

    /** A file with nothing but this colour in it: `red.png`, small, or `red.jpg`, large. */
    fun picture(name: String) = Attachment(AttachmentKind.PICTURE, File(folder, "pictures/$name"), name)

    /** Hears as well: it takes low tones for a fox and high ones for a cat, but green for a fox. */
    val hearing: ModelBundle get() = readBundle(File(folder, "hearing.litertlm"))

    /** A file with nothing but this tone in it: `low.wav`, or `low-stereo.wav`, which is to be resampled. */
    fun sound(name: String) = Attachment(AttachmentKind.SOUND, File(folder, "clips/$name"), name)

    const val BEAR = "Tell me a story about a bear and a kite in the swamp."
    const val ZEBRA = "Tell me a story about a zebra and a lamp in the castle."

    val cpuMtp = RunMode(Accelerator.CPU, mtp = true)
    val cpu = RunMode(Accelerator.CPU, mtp = false)

    fun runtime(contextTokens: Int? = null) =
        LiteRtLmRuntime(weightCache = null, threads = 1, contextTokens)

    /** Loads, runs the block, and closes. */
    fun <T> withModel(
        bundle: ModelBundle = withDrafter,
        mode: RunMode = cpuMtp,
        contextTokens: Int? = null,
        block: suspend (LoadedModel) -> T,
    ): T = runBlocking {
        val model = runtime(contextTokens).load(bundle, mode)
        try {
            block(model)
        } finally {
            model.close()
        }
    }
}

/** A whole reply. */
data class Answer(val text: String, val pieces: Int, val done: ReplyEvent.Done) {
    fun after(
        history: List<ChatMessage>,
        prompt: String,
        attachments: List<Attachment> = emptyList(),
    ): List<ChatMessage> = history + ChatMessage(Speaker.USER, prompt, attachments = attachments) +
        ChatMessage(Speaker.MODEL, text, Ending.COMPLETE)
}

suspend fun LoadedModel.answer(
    prompt: String,
    history: List<ChatMessage> = emptyList(),
    options: ReplyOptions = ReplyOptions(mtp = mode.mtp),
    attachments: List<Attachment> = emptyList(),
): Answer {
    val events = reply(history, prompt, options, attachments).toList()
    val pieces = events.filterIsInstance<ReplyEvent.Text>().map { it.piece }
    return Answer(pieces.joinToString(""), pieces.size, events.last() as ReplyEvent.Done)
}
