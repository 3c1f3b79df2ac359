package com.example.mtpchat.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val HEADER_BEGIN = 32
private const val SECTION_BYTES = 64
private const val STRING_VALUE: Byte = 9

/** Writes a file with a bundle's header and nothing of use in its sections. */
fun writeSmallBundle(file: File, modelTypes: List<String>): File {
    fun header(begin: Long) = FlatWriter().root(
        Table(null, Table(modelTypes.mapIndexed { index, type -> section(type, begin, index) })),
    )
    val end = HEADER_BEGIN + header(0).size
    val bytes = ByteBuffer.allocate(end + SECTION_BYTES * modelTypes.size).order(ByteOrder.LITTLE_ENDIAN)
    bytes.put("LITERTLM".toByteArray()).putInt(1).putInt(7).putInt(0).putInt(0).putLong(end.toLong())
    bytes.put(header(end.toLong()))
    return file.also { it.writeBytes(bytes.array()) }
}

/** Fields in schema order: items, begin, end, data type (3: a model). */
private fun section(modelType: String, begin: Long, index: Int): Table {
    val item = Table("model_type", STRING_VALUE, Table(modelType))
    val at = begin + SECTION_BYTES * index
    return Table(listOf(item), at, at + SECTION_BYTES, 3.toByte())
}

/** Fields are null (absent), bytes, longs, strings, tables, or lists of tables. */
private class Table(vararg val fields: Any?)

/** A FlatBuffers writer as plain as can be: children follow parents, every field takes 8 bytes. */
private class FlatWriter {
    private val out = ByteBuffer.allocate(4096).order(ByteOrder.LITTLE_ENDIAN)

    fun root(table: Table): ByteArray {
        out.putInt(0)
        out.putInt(0, write(table))
        return out.array().copyOf(out.position())
    }

    private fun write(written: Table): Int {
        val fields = written.fields
        out.align()
        val vtable = out.position()
        out.putShort((4 + 2 * fields.size).toShort()).putShort((8 + 8 * fields.size).toShort())
        fields.forEachIndexed { n, field -> out.putShort(if (field == null) 0 else (8 + 8 * n).toShort()) }
        out.align()
        val table = out.position()
        out.putInt(table - vtable).putInt(0)
        repeat(fields.size) { out.putLong(0) }
        fields.forEachIndexed { n, field -> put(field, table + 8 + 8 * n) }
        return table
    }

    private fun put(field: Any?, at: Int) {
        when (field) {
            is Byte -> out.put(at, field)
            is Long -> out.putLong(at, field)
            is String -> out.putInt(at, string(field) - at)
            is Table -> out.putInt(at, write(field) - at)
            is List<*> -> out.putInt(at, vector(field) - at)
        }
    }

    private fun string(text: String): Int {
        out.align()
        return out.position().also { out.putInt(text.length).put(text.toByteArray()).put(0) }
    }

    private fun vector(tables: List<*>): Int {
        out.align()
        val start = out.position()
        out.putInt(tables.size)
        repeat(tables.size) { out.putInt(0) }
        tables.forEachIndexed { n, table ->
            val at = start + 4 + 4 * n
            out.putInt(at, write(table as Table) - at)
        }
        return start
    }

    private fun ByteBuffer.align() {
        while (position() % 8 != 0) put(0)
    }
}
