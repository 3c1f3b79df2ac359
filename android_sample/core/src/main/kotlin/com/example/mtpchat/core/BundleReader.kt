package com.example.mtpchat.core

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import java.io.EOFException
import java.io.File
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val MAGIC = "LITERTLM"
private const val SUPPORTED_MAJOR = 1
private const val HEADER_BEGIN = 32
private const val HEADER_LIMIT = 16L shl 20
private const val MANIFEST_LIMIT = 16L shl 20

private val SECTION_TYPES = listOf(
    "NONE", "GenericBinaryData", "Deprecated", "TFLiteModel", "SP_Tokenizer", "LlmMetadataProto",
    "HF_Tokenizer_Zlib", "TFLiteWeights",
)

/**
 * Reads a bundle's header: 8 bytes of magic, three 32-bit version numbers, padding, at byte 24 the
 * 64-bit end of the header, at byte 32 a flatbuffer that lists the sections.
 *
 * Sections are not looked into, except for the manifest; a bundle of several GB takes milliseconds.
 *
 * @throws FailureException Missing, not a bundle, of another format version, truncated or damaged.
 */
fun readBundle(file: File): ModelBundle {
    if (!file.isFile) fail(Failure.MissingFile(file.path))
    return RandomAccessFile(file, "r").use { stream ->
        try {
            BundleReader(file, stream).read()
        } catch (error: EOFException) {
            fail(Failure.DamagedBundle("it breaks off after ${file.length()} bytes"), error)
        } catch (error: IndexOutOfBoundsException) {
            fail(Failure.DamagedBundle("its header is damaged"), error)
        }
    }
}

private class BundleReader(private val file: File, private val stream: RandomAccessFile) {
    private val size = file.length()

    fun read(): ModelBundle {
        if (size < MAGIC.length || String(bytes(0, MAGIC.length), Charsets.ISO_8859_1) != MAGIC) {
            fail(Failure.NotABundle(file.name))
        }
        val start = ByteBuffer.wrap(bytes(0, HEADER_BEGIN)).order(ByteOrder.LITTLE_ENDIAN)
        val version = List(3) { start.getInt(MAGIC.length + Int.SIZE_BYTES * it) }
        if (version[0] != SUPPORTED_MAJOR) {
            fail(Failure.UnsupportedFormat(version.joinToString(".")))
        }
        val sections = sections(start.getLong(HEADER_BEGIN - Long.SIZE_BYTES))
        return ModelBundle(file, size, version.joinToString("."), sections, manifest(sections))
    }

    private fun sections(headerEnd: Long): List<BundleSection> {
        if (headerEnd !in HEADER_BEGIN + 1..minOf(size, HEADER_LIMIT)) {
            damaged("its header would end at byte $headerEnd of $size")
        }
        val root = FlatTable.root(bytes(HEADER_BEGIN.toLong(), (headerEnd - HEADER_BEGIN).toInt()))
        val entries = root.table(SECTION_METADATA)?.tables(SECTION_OBJECTS).orEmpty()
        if (entries.isEmpty()) damaged("it has no sections")
        return entries.map(::section).onEach { section ->
            if (section.begin < headerEnd || section.end < section.begin) {
                damaged("a section lies at byte ${section.begin}")
            }
            if (section.end > size) {
                damaged("a section ends at byte ${section.end}, the file at $size")
            }
        }
    }

    private fun section(entry: FlatTable): BundleSection {
        val texts = entry.tables(SECTION_ITEMS).filter { it.byte(ITEM_VALUE_TYPE) == STRING_VALUE }
        return BundleSection(
            type = entry.byte(SECTION_TYPE).let { SECTION_TYPES.getOrElse(it) { _ -> "type $it" } },
            metadata = texts.associate {
                it.string(ITEM_KEY).orEmpty() to it.table(ITEM_VALUE)?.string(0).orEmpty()
            },
            begin = entry.long(SECTION_BEGIN),
            end = entry.long(SECTION_END),
        )
    }

    private fun manifest(sections: List<BundleSection>): BundleManifest? {
        val section = sections.find { it.metadata["content"] == "mtp_export_manifest" } ?: return null
        if (section.bytes > MANIFEST_LIMIT) damaged("its manifest has ${section.bytes} bytes")
        val text = String(bytes(section.begin, section.bytes.toInt()), Charsets.UTF_8)
        return try {
            parsedManifest(JsonParser.parseString(text).asJsonObject)
        } catch (error: RuntimeException) { // whatever gson meets in damaged text
            fail(Failure.DamagedBundle("its manifest cannot be read"), error)
        }
    }

    private fun bytes(position: Long, count: Int): ByteArray =
        ByteArray(count).also { stream.seek(position); stream.readFully(it) }

    private fun damaged(detail: String): Nothing = fail(Failure.DamagedBundle(detail))

    /** Field numbers of the header's flatbuffer schema. */
    private companion object {
        const val SECTION_METADATA = 1
        const val SECTION_OBJECTS = 0
        const val SECTION_ITEMS = 0
        const val SECTION_BEGIN = 1
        const val SECTION_END = 2
        const val SECTION_TYPE = 3
        const val ITEM_KEY = 0
        const val ITEM_VALUE_TYPE = 1
        const val ITEM_VALUE = 2
        const val STRING_VALUE = 9
    }
}

private fun parsedManifest(json: JsonObject): BundleManifest {
    val sources = json.getAsJsonObject("sources")
    val contract = json.getAsJsonObject("contract")
    return BundleManifest(
        target = sources.getAsJsonObject("target")["source"].asString,
        drafter = sources["drafter"].ifPresent { it.asJsonObject["source"].asString },
        recipe = json.getAsJsonObject("recipe")["name"].asString,
        accelerator = contract["accelerator"].ifPresent { Accelerator.valueOf(it.asString.uppercase()) }
            ?: Accelerator.CPU,
        cacheLength = contract["cache_length"].asInt,
        draftLength = contract["draft_length"].ifPresent { it.asInt },
        soundSeconds = json["sound"].ifPresent { it.asJsonObject }
            ?.let { it["frames"].asInt / it["frames_per_second"].asInt },
    )
}

private fun <T> JsonElement?.ifPresent(read: (JsonElement) -> T): T? =
    if (this == null || isJsonNull) null else read(this)

private fun fail(failure: Failure, cause: Throwable? = null): Nothing =
    throw FailureException(failure, cause)
