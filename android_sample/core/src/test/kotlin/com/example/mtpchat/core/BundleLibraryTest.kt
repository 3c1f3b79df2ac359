package com.example.mtpchat.core

import java.io.ByteArrayInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.file.Files
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking

class BundleLibraryTest {
    private val folder = createTempDirectory().toFile()

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

    private fun bundleLike(bytes: Int) = ByteArray(bytes).also { "LITERTLM".toByteArray().copyInto(it) }

    private fun source(content: ByteArray) =
        Source("b.litertlm", content.size.toLong()) { ByteArrayInputStream(content) }

    private fun failureOf(library: BundleLibrary, source: PickedFile): Failure =
        assertFailsWith<FailureException> { runBlocking { library.import(source).collect() } }.failure

    @Test
    fun anotherKindOfFileIsRefusedAtItsFirstBytes() {
        val source = Source("film.mp4", 1L shl 40) {
            object : InputStream() {
                var read = 0L

                override fun read(): Int = if (read++ < 2L shl 20) 0 else error("read too much")
            }
        }
        val library = BundleLibrary(folder, freeBytes = { 2L shl 40 })
        assertEquals(Failure.NotABundle("film.mp4"), failureOf(library, source))
        assertEquals(0, folder.list().orEmpty().size)
    }

    @Test
    fun tooLittleSpaceIsSaidBeforeCopying() {
        val library = BundleLibrary(folder, marginBytes = 50, freeBytes = { 100 })
        val source = Source("b.litertlm", 51) { error("opened") }
        assertEquals(Failure.NoSpace(neededBytes = 101, freeBytes = 100), failureOf(library, source))
    }

    /** The kernel itself says ENOSPC here: everything written to /dev/full fails that way. */
    @Test
    fun aDiskThatFillsUpDuringTheCopyIsTooLittleSpace() {
        Files.createSymbolicLink(File(folder, "b.litertlm.part").toPath(), File("/dev/full").toPath())
        val library = BundleLibrary(folder, marginBytes = 0, freeBytes = { Long.MAX_VALUE })
        assertIs<Failure.NoSpace>(failureOf(library, source(bundleLike(4_000_000))))
        assertEquals(0, folder.list().orEmpty().size)
    }

    @Test
    fun aSourceThatBreaksOffLeavesNothingBehind() {
        val source = Source("b.litertlm", null) { throw IOException("cable pulled") }
        assertEquals(Failure.ImportBroken("cable pulled"), failureOf(BundleLibrary(folder), source))
        assertEquals(0, folder.list().orEmpty().size)
    }

    @Test
    fun namesOfProvidersBecomePlainOnes() {
        assertEquals("gemma-4-E2B.litertlm", bundleFileName("gemma-4-E2B.litertlm"))
        assertEquals("_.._etc_passwd.litertlm", bundleFileName("/../etc/passwd"))
        assertEquals("bundle.litertlm", bundleFileName(".."))
        assertEquals("été (1).litertlm", bundleFileName("été (1).litertlm"))
    }

    @Test
    fun cancellingLeavesNothingBehind() = runBlocking {
        val endless = object : InputStream() {
            var first = true

            override fun read(): Int = error("unused")

            override fun read(into: ByteArray, offset: Int, length: Int): Int {
                if (first) bundleLike(8).copyInto(into, offset)
                first = false
                return length
            }
        }
        val event = BundleLibrary(folder).import(Source("b.litertlm", null) { endless }).first()
        assertIs<ImportEvent.Progress>(event)
        assertEquals(0, folder.list().orEmpty().size)
    }

    @Test
    fun aCopyThatIsNoWholeBundleIsNotKept() {
        val library = BundleLibrary(folder, marginBytes = 0)
        assertIs<Failure.UnsupportedFormat>(failureOf(library, source(bundleLike(1000))))
        assertEquals(emptyList(), library.files())
    }
}
