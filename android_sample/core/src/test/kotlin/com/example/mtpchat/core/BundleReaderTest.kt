package com.example.mtpchat.core

import java.io.File
import kotlin.io.path.createTempDirectory
import kotlin.random.Random
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertIs
import kotlin.test.assertTrue

class BundleReaderTest {
    private val folder = createTempDirectory().toFile()
    private val file = File(folder, "b.litertlm")

    @AfterTest
    fun tidy() {
        folder.deleteRecursively()
    }

    private fun failure(): Failure = assertFailsWith<FailureException> { readBundle(file) }.failure

    @Test
    fun sectionsAndDrafterAreFound() {
        writeSmallBundle(file, listOf("tf_lite_prefill_decode", "tf_lite_mtp_drafter"))
        val bundle = readBundle(file)
        assertEquals("1.7.0", bundle.version)
        assertEquals(listOf("TFLiteModel", "TFLiteModel"), bundle.sections.map { it.type })
        assertEquals(listOf(64L, 64L), bundle.sections.map { it.bytes })
        assertTrue(bundle.hasDrafter)
        assertFalse(readBundle(writeSmallBundle(file, listOf("tf_lite_embedder"))).hasDrafter)
    }

    @Test
    fun theSectionsSayWhatABundleTakes() {
        val text = listOf("tf_lite_prefill_decode", "tf_lite_mtp_drafter")
        val sees = text + listOf("tf_lite_vision_encoder", "tf_lite_vision_adapter")
        val hears = text + "tf_lite_audio_encoder_hw"
        assertEquals(emptySet(), readBundle(writeSmallBundle(file, text)).takes)
        val seeing = readBundle(writeSmallBundle(file, sees))
        assertTrue(seeing.takesPictures && !seeing.takesSound)
        val hearing = readBundle(writeSmallBundle(file, hears))
        assertTrue(hearing.takesSound && !hearing.takesPictures)
        assertEquals(AttachmentKind.entries.toSet(), readBundle(writeSmallBundle(file, sees + hears)).takes)
    }

    @Test
    fun whatIsNoBundleIsNamed() {
        assertEquals(Failure.MissingFile(file.path), failure())
        file.writeText("PK zip")
        assertEquals(Failure.NotABundle("b.litertlm"), failure())
        file.writeBytes("LITERTLM".toByteArray() + byteArrayOf(2, 0, 0, 0) + ByteArray(100))
        assertEquals(Failure.UnsupportedFormat("2.0.0"), failure())
    }

    @Test
    fun everyTruncationIsDamage() {
        val whole = writeSmallBundle(file, listOf("tf_lite_embedder")).readBytes()
        for (length in 8 until whole.size) {
            file.writeBytes(whole.copyOf(length))
            assertIs<Failure.DamagedBundle>(failure(), "cut to $length bytes")
        }
    }

    /** Flipped bits may go unnoticed (a name changes), but never cause anything but a [Failure]. */
    @Test
    fun flippedBitsNeverCauseAnythingElse() {
        val whole = writeSmallBundle(file, listOf("tf_lite_embedder", "tf_lite_mtp_drafter")).readBytes()
        val random = Random(1)
        repeat(500) {
            val damaged = whole.copyOf()
            val at = random.nextInt(8, whole.size)
            damaged[at] = random.nextInt().toByte()
            file.writeBytes(damaged)
            try {
                readBundle(file)
            } catch (expected: FailureException) {
                assertTrue(expected.failure !is Failure.MissingFile)
            }
        }
    }
}
