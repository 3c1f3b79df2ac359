package com.example.mtpchat.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

/**
 * The little of the FlatBuffers wire format that a bundle's header needs, read-only.
 *
 * A table starts with a signed offset back to its vtable; the vtable has a 16-bit offset per field (0: the
 * field is absent). Strings, vectors and sub-tables are stored as unsigned offsets from where they are
 * mentioned. Every access is bounds-checked by [ByteBuffer]: damaged data throws
 * [IndexOutOfBoundsException].
 */
internal class FlatTable private constructor(private val data: ByteBuffer, private val at: Int) {

    fun table(field: Int): FlatTable? = position(field)?.let { FlatTable(data, follow(it)) }

    fun string(field: Int): String? = position(field)?.let(::follow)?.let { start ->
        val length = size(start)
        String(ByteArray(length) { data.get(start + Int.SIZE_BYTES + it) }, Charsets.UTF_8)
    }

    fun tables(field: Int): List<FlatTable> {
        val start = follow(position(field) ?: return emptyList())
        return List(size(start)) { FlatTable(data, follow(start + Int.SIZE_BYTES * (it + 1))) }
    }

    fun byte(field: Int): Int = position(field)?.let { data.get(it).toInt() and 0xff } ?: 0

    fun long(field: Int): Long = position(field)?.let(data::getLong) ?: 0

    /** Where field number [field] lies, or null if this table leaves it out. */
    private fun position(field: Int): Int? {
        val vtable = at - data.getInt(at)
        val slot = 2 * Short.SIZE_BYTES + Short.SIZE_BYTES * field
        if (slot >= data.getShort(vtable).toInt()) return null
        return data.getShort(vtable + slot).toInt().takeIf { it != 0 }?.let { at + it }
    }

    private fun follow(position: Int): Int = position + data.getInt(position)

    private fun size(start: Int): Int = data.getInt(start).also {
        if (it < 0 || it > data.limit()) throw IndexOutOfBoundsException("a vector of $it elements")
    }

    companion object {
        fun root(bytes: ByteArray): FlatTable {
            val data = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN)
            return FlatTable(data, data.getInt(0))
        }
    }
}
