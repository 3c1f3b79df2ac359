package com.example.mtpchat.endtoend

import com.example.mtpchat.Notice
import com.example.mtpchat.NoticeButton
import com.example.mtpchat.R
import com.example.mtpchat.Wording
import com.example.mtpchat.core.AbPlan
import com.example.mtpchat.core.AbReply
import com.example.mtpchat.core.AbReport
import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.Attachment
import com.example.mtpchat.core.AttachmentKind
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ChatState
import com.example.mtpchat.core.DraftStats
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.ImportState
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.RecordingState
import com.example.mtpchat.core.ReplyState
import com.example.mtpchat.core.ReplyStats
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.notice
import com.example.mtpchat.rows
import java.io.File
import java.util.Locale
import javax.xml.parsers.DocumentBuilderFactory
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFalse
import kotlin.test.assertTrue

/** The app's words: its own strings.xml, looked up through the ids that aapt2 gave them. */
class WordingTest {
    private val strings: Map<String, String> = readStrings()
    private val names = R.string::class.java.fields.associate { it.getInt(null) to it.name }
    private val wording = Wording(
        { id, arguments -> strings.getValue(names.getValue(id)).format(Locale.US, *arguments) },
        { bytes -> "${bytes / 1_000_000} MB" },
    )
    private val stats = ReplyStats(0.42, 20, 111, 31.4, 131, DraftStats(83, 84))

    private fun readStrings(): Map<String, String> {
        val file = File(System.getProperty("sample"), "app/src/main/res/values/strings.xml")
        val nodes = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(file)
            .getElementsByTagName("string")
        return (0 until nodes.length).associate {
            nodes.item(it).attributes.getNamedItem("name").nodeValue to nodes.item(it).textContent
        }
    }

    @Test
    fun everyFailureTellsWhatToDo() {
        val gpu = RunMode(Accelerator.GPU, true)
        val said = mapOf(
            Failure.NotABundle("film.mp4") to
                "film.mp4 is not a .litertlm bundle. Choose a file made by mtp-export.",
            Failure.DamagedBundle("the checksum of x does not match") to
                "This bundle is damaged: the checksum of x does not match. Copy or export it again.",
            Failure.UnsupportedFormat("2.0.0") to
                "This bundle has format 2.0.0, which this app cannot read. " +
                "Update the app or export it again.",
            Failure.MissingFile("/data/b.litertlm") to "The file b.litertlm is gone. Import it again.",
            Failure.NoSpace(2_600_000_000, 900_000_000) to
                "Not enough space: 2600 MB are needed, 900 MB are free. Remove something and try again.",
            Failure.ImportBroken("cable pulled") to "Copying failed: cable pulled",
            Failure.ContextFull(4096) to "The conversation is full (4096 tokens). Start a new chat.",
            Failure.ContextFull(null) to "The conversation is full. Start a new chat.",
            Failure.ReplyBroken("INTERNAL") to "The reply broke off: INTERNAL",
            Failure.MadeFor(Accelerator.GPU) to
                "This bundle runs on the GPU only. Change the settings, or import one made for the other.",
            Failure.NoDrafter to "This bundle has no drafter; MTP needs one.",
            Failure.AttachmentTooLarge("scan.tiff", 64_000_000) to
                "scan.tiff is too large to attach: 64 MB are the most.",
            Failure.AttachmentUnreadable(AttachmentKind.PICTURE, "a.pdf") to
                "a.pdf is not a picture that this device can read.",
            Failure.AttachmentUnreadable(AttachmentKind.SOUND, "a.ogg") to
                "a.ogg is not a sound that the model can hear. WAV, MP3 and FLAC files are.",
            Failure.AttachmentGone("cat.jpg") to
                "The conversation needs cat.jpg, and the app no longer has that file. Start a new chat.",
            Failure.AttachmentNotTaken(AttachmentKind.PICTURE) to
                "This model takes no pictures. Choose another bundle, or start a new chat without them.",
            Failure.AttachmentNotTaken(AttachmentKind.SOUND) to
                "This model takes no sound. Choose another bundle, or start a new chat without it.",
            Failure.MicrophoneDenied to
                "The app may not use the microphone. Allow it in the settings of the system.",
            Failure.RecordingBroken("in use") to "Recording failed: in use",
            Failure.NothingWorked(listOf(Failure.ModeRefused(gpu, "x"), Failure.ModeCrashed(gpu))) to
                "This bundle does not run on this device. GPU with MTP did not start on this device. " +
                "GPU with MTP closed the app last time; it is not tried again.",
        )
        for ((failure, words) in said) assertEquals(words, wording.failure(failure))
    }

    @Test
    fun setbacksAreShownUntilDismissed() {
        val setbacks = listOf(Failure.NoDrafter)
        val ready = ModelState.Ready(EngineFixture.withoutDrafter, EngineFixture.cpu, setbacks)
        assertEquals(
            Notice("This bundle has no drafter, so replies come without MTP.", NoticeButton.DISMISS),
            wording.notice(ChatState(model = ready)),
        )
        assertEquals(null, wording.notice(ChatState(model = ready.copy(setbacks = emptyList()))))
    }

    @Test
    fun progressIsSaid() {
        val trying = ModelState.Trying("b", RunMode(Accelerator.CPU, true), 3, 4)
        val starting = wording.notice(ChatState(model = trying))
        assertEquals(Notice("Starting b on CPU with MTP (try 3 of 4)…", null), starting)
        val import = ImportState("b", 1_000_000_000, 2_600_000_000)
        val copying = Notice("Copying b: 1000 MB of 2600 MB", NoticeButton.CANCEL_IMPORT)
        assertEquals(copying, wording.notice(ChatState(import = import)))
        val recording = wording.notice(ChatState(recording = RecordingState.Running(3, 30)))
        assertEquals(Notice("Recording: 3 of 30 s", null), recording)
        assertEquals(null, wording.notice(ChatState(recording = RecordingState.Asking)))
        val unknown = wording.notice(ChatState(import = import.copy(totalBytes = null)))
        assertEquals("Copying b: 1000 MB", unknown?.text)
    }

    @Test
    fun footnotesHaveFiguresAndDraftsIfWanted() {
        val message = ChatMessage(Speaker.MODEL, "a", Ending.STOPPED, stats)
        val figures = "stopped\n31.4 tokens/s · first text after 0.4 s · 111 tokens"
        assertEquals(figures, wording.footnote(message, showDrafts = false))
        assertEquals(
            "$figures\n≈ 83 of 84 drafts accepted (98 %)",
            wording.footnote(message, showDrafts = true),
        )
    }

    @Test
    fun theReplyBeingWrittenIsTheLastRow() {
        val state = ChatState(
            messages = listOf(ChatMessage(Speaker.USER, "q")),
            reply = ReplyState.Streaming("so far"),
        )
        assertEquals(listOf("q", "so far"), wording.rows(state, ChatSettings()).map { it.text })
    }

    @Test
    fun attachmentsAreNamed() {
        val picture = Attachment(AttachmentKind.PICTURE, File("1"), "cat.jpg")
        assertEquals("Picture cat.jpg", wording.attachment(picture))
        assertEquals("Sound cat.jpg", wording.attachment(picture.copy(kind = AttachmentKind.SOUND)))
        assertEquals("Attach a picture", wording.attach(setOf(AttachmentKind.PICTURE)))
        assertEquals("Attach a sound", wording.attach(setOf(AttachmentKind.SOUND)))
        assertEquals("Attach a picture or a sound", wording.attach(AttachmentKind.entries.toSet()))
        val asked = ChatMessage(Speaker.USER, "", attachments = listOf(picture))
        val rows = wording.rows(ChatState(messages = listOf(asked)), ChatSettings())
        assertEquals(listOf(picture), rows.single().attachments)
        assertEquals("Copying the file…", wording.notice(ChatState(attaching = true))?.text)
    }

    @Test
    fun comparisonsSayWhichIsFaster() {
        val off = listOf(AbReply("a", stats.copy(tokensPerSecond = 10.0)))
        val on = listOf(AbReply("a", stats.copy(tokensPerSecond = 16.0)))
        val report = AbReport(AbPlan("q"), Accelerator.CPU, off, on)
        assertEquals(
            "MTP is 1.60× as fast: 16.0 instead of 10.0 tokens/s. The text was the same.",
            wording.comparison(report),
        )
        val slower = wording.comparison(report.copy(off = on, on = off))
        assertTrue(slower.startsWith("MTP is slower here: 10.0 instead of 16.0"), slower)
    }

    @Test
    fun noStringIsLeftOver() {
        val app = File(System.getProperty("sample"), "app/src")
        val uses = app.walk().filter { it.isFile && it.name != "strings.xml" }.joinToString { it.readText() }
        val unused = strings.keys.filter { "R.string.$it" !in uses && "@string/$it" !in uses }
        assertEquals(emptyList(), unused)
        assertFalse(strings.isEmpty())
    }
}
