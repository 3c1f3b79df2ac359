package com.example.mtpchat.core

import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertTrue
import kotlinx.coroutines.runBlocking

private const val LIMIT = 3L shl 20

class AttachmentStoreTest {
    private val folder = createTempDirectory().toFile()
    private val store = AttachmentStore(folder, LIMIT) { from, to ->
        val bytes = from.readBytes()
        (bytes.firstOrNull() == 'P'.code.toByte()).also { if (it) to.writeBytes(bytes.drop(1).toByteArray()) }
    }

    @AfterTest
    fun tidy() {
        folder.deleteRecursively()
    }

    private class Source(
        override val name: String,
        override val bytes: Long?,
        private val stream: () -> InputStream,
    ) : PickedFile {
        override fun open(): InputStream = stream()
    }

    private fun source(content: ByteArray, bytes: Long? = null) =
        Source("../a.jpg", bytes) { ByteArrayInputStream(content) }

    private fun keep(kind: AttachmentKind, content: ByteArray) =
        runBlocking { store.keep(kind, source(content)) }

    private fun failure(kind: AttachmentKind, source: PickedFile): Failure {
        val error = assertFailsWith<FailureException> { runBlocking { store.keep(kind, source) } }
        assertEquals(emptyList(), folder.list().orEmpty().toList(), "nothing is left behind")
        return error.failure
    }

    @Test
    fun picturesAreRewrittenAndSoundIsKeptAsItIs() {
        val picture = keep(AttachmentKind.PICTURE, "Pixels".toByteArray())
        assertEquals("ixels", picture.file.readText())
        assertEquals("../a.jpg", picture.name)
        assertEquals(folder, picture.file.parentFile, "a provider's name is not a path here")
        val large = "RIFF\u0004\u0000\u0000\u0000WAVE".toByteArray() + ByteArray(LIMIT.toInt() - 12) { 7 }
        assertContentEquals(large, keep(AttachmentKind.SOUND, large).file.readBytes())
        assertEquals(2, folder.list().orEmpty().size)
    }

    @Test
    fun whatIsNoSoundIsRefused() {
        val beginnings = listOf(
            "fLaC".toByteArray(), "ID3".toByteArray(), byteArrayOf(-1, -5), byteArrayOf(-1, -13),
        )
        for (beginning in beginnings) keep(AttachmentKind.SOUND, beginning + ByteArray(20))
        store.keepOnly(emptyList())
        val others = listOf("RIFF\u0004\u0000\u0000\u0000AVI ", "ftypM4A", "OggS", "", "Pixels", "RIFF")
        val adts = byteArrayOf(-1, -15)
        for (other in others.map { it.toByteArray() } + adts) {
            val found = failure(AttachmentKind.SOUND, source(other))
            assertEquals(Failure.AttachmentUnreadable(AttachmentKind.SOUND, "../a.jpg"), found)
        }
    }

    @Test
    fun whatIsNoPictureIsRefused() {
        val found = failure(AttachmentKind.PICTURE, source("no".toByteArray()))
        assertEquals(Failure.AttachmentUnreadable(AttachmentKind.PICTURE, "../a.jpg"), found)
    }

    /** A provider may say how large a file is, say nothing, or something else. */
    @Test
    fun theLimitHoldsWhateverTheProviderSays() {
        val tooLarge = Failure.AttachmentTooLarge("../a.jpg", LIMIT)
        val said = Source("../a.jpg", LIMIT + 1) { error("opened") }
        assertEquals(tooLarge, failure(AttachmentKind.PICTURE, said))
        val endless = object : InputStream() {
            var read = 0L

            override fun read(): Int = if (read++ < 2 * LIMIT) 0 else error("read too much")
        }
        assertEquals(tooLarge, failure(AttachmentKind.PICTURE, Source("../a.jpg", 5) { endless }))
    }

    @Test
    fun aSourceThatBreaksOffIsSaid() {
        val source = Source("../a.jpg", null) { throw IOException("cable pulled") }
        assertEquals(Failure.ImportBroken("cable pulled"), failure(AttachmentKind.PICTURE, source))
    }

    @Test
    fun aDiskThatIsFullIsNotABadPicture() {
        val full = AttachmentStore(folder) { _, _ -> File("/dev/full").writeText("x").let { true } }
        val error = assertFailsWith<FailureException> {
            runBlocking { full.keep(AttachmentKind.PICTURE, source("Pixels".toByteArray())) }
        }
        assertIs<Failure.NoSpace>(error.failure)
        assertEquals(emptyList(), folder.list().orEmpty().toList())
    }

    @Test
    fun onlyWhatIsStillNeededStays() {
        val (old, new) = List(2) { keep(AttachmentKind.PICTURE, "Pixels".toByteArray()) }
        store.keepOnly(listOf(new))
        assertTrue(!old.file.exists() && new.file.exists())
    }

    @Test
    fun sidesAreHalvedAsLongAsEnoughRemains() {
        assertEquals(1, sampleSize(100, 2047, side = 1024))
        assertEquals(2, sampleSize(2048, 100, side = 1024))
        assertEquals(2, sampleSize(4095, 4095, side = 1024))
        assertEquals(4, sampleSize(4096, 3072, side = 1024))
        assertEquals(1, sampleSize(1, 1, side = 1024))
    }
}
