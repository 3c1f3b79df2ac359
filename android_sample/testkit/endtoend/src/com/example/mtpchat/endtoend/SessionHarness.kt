package com.example.mtpchat.endtoend

import com.example.mtpchat.core.AcceleratorChoice
import com.example.mtpchat.core.AttachmentStore
import com.example.mtpchat.core.BundleLibrary
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.ChatSession
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.Microphone
import com.example.mtpchat.core.ModeMemory
import com.example.mtpchat.core.ModeRecord
import com.example.mtpchat.core.ModelLoader
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.PickedFile
import com.example.mtpchat.core.SoundRecorder
import com.example.mtpchat.core.TranscriptStore
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.util.concurrent.Executors
import javax.imageio.ImageIO
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout

private const val PATIENCE_MILLIS = 60_000L

/** The whole app but for its views: session, loader, library and transcript over the real engine. */
abstract class SessionHarness {
    protected val folder = createTempDirectory().toFile()
    private val main = Executors.newSingleThreadExecutor().asCoroutineDispatcher()
    private val scope = CoroutineScope(main + SupervisorJob())
    protected val settings = MutableStateFlow(ChatSettings(accelerator = AcceleratorChoice.CPU_ONLY))
    private val memory = object : ModeMemory {
        private val records = mutableMapOf<String, ModeRecord>()

        override fun recall(bundle: String): ModeRecord = records[bundle] ?: ModeRecord()

        override fun remember(bundle: String, record: ModeRecord) {
            records[bundle] = record
        }
    }
    protected val library = BundleLibrary(File(folder, "bundles"), marginBytes = 0)

    private val transcripts = TranscriptStore(File(folder, "chat.json"))

    /** What a recording would hear. */
    protected var microphone = Microphone { throw IOException("no microphone") }

    protected fun session() = ChatSession(
        ModelLoader(EngineFixture.runtime(), memory),
        library,
        settings,
        transcripts,
        AttachmentStore(File(folder, "attachments"), rewritePicture = ::rewrittenAsPng),
        SoundRecorder({ microphone.open() }, File(folder, "recording")),
        scope,
    )

    protected val session = session()

    @AfterTest
    fun tidy() {
        scope.cancel()
        main.close()
        folder.deleteRecursively()
    }

    protected fun onMain(block: () -> Unit) = runBlocking { withContext(main) { block() } }

    protected fun ChatSession.await(what: (ChatState) -> Boolean): ChatState =
        runBlocking { withTimeout(PATIENCE_MILLIS) { state.first(what) } }

    protected fun open(file: File): ModelState.Ready {
        onMain { session.open(file) }
        return session.await { it.model is ModelState.Ready || it.failure != null }.model as ModelState.Ready
    }

    protected fun say(prompt: String): ChatMessage {
        val before = session.state.value.messages.size
        onMain { session.send(prompt) }
        return session.await { it.messages.size == before + 2 && !it.isReplying }.messages.last()
    }

    protected fun awaitSaved() = awaitTrue { transcripts.load().any { it.ending != null } }

    protected fun awaitTrue(what: () -> Boolean) = runBlocking {
        withTimeout(PATIENCE_MILLIS) { while (!what()) delay(10) }
    }

    protected fun picked(file: File) = object : PickedFile {
        override val name = file.name
        override val bytes = file.length()

        override fun open(): InputStream = file.inputStream()
    }
}

/** What the app does with Android's decoders. */
private fun rewrittenAsPng(from: File, to: File): Boolean =
    ImageIO.read(from)?.let { ImageIO.write(it, "png", to) } ?: false
