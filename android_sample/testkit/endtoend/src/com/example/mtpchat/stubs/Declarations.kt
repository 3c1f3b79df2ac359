package com.example.mtpchat.stubs

import java.io.File

/**
 * What `@nativescript/types-android` declares, read line by line: modules are packages or outer classes,
 * every member stands on a line of its own, `@since N` stands on the line before.
 */
class Declarations private constructor(private val types: Map<String, DeclaredType>) {

    operator fun get(name: String): DeclaredType? = types[name]

    /** The type and everything it extends or implements, nearest first. */
    fun lineage(name: String): List<DeclaredType> {
        val type = types[name] ?: return emptyList()
        return listOf(type) + type.parents.flatMap(::lineage)
    }

    companion object {
        private val MODULE = Regex("""(?:declare|export) module ([\w.]+) \{""")
        private val CLASS = Regex("""export (?:abstract )?class (\w+)(?:<.*?>)?( +extends .*)? \{""")
        private val METHOD = Regex("""(?:public|protected) (static )?(\w+)(?:<.*?>)?\((.*)\): (.*);""")
        private val CONSTRUCTOR = Regex("""(?:public|protected) constructor\((.*)\);""")
        private val FIELD = Regex("""public (?:static )?(\w+): (.*);""")
        private val SINCE = Regex("""@since (\d+)""")

        fun read(file: File): Declarations {
            val types = mutableMapOf<String, DeclaredType>()
            val path = mutableListOf<String?>()
            var since = 1
            file.forEachLine { raw ->
                val line = raw.trim()
                val module = MODULE.matchEntire(line)
                val type = CLASS.matchEntire(line)
                when {
                    module != null -> path += module.groupValues[1]
                    type != null -> {
                        path += type.groupValues[1]
                        val name = path.filterNotNull().joinToString(".")
                        types[name] = DeclaredType(name, since, parents(type.groupValues[2]))
                    }
                    line.startsWith("}") -> if (path.isNotEmpty()) path.removeLast()
                    line.endsWith("{") -> path += null
                    else -> types[path.filterNotNull().joinToString(".")]?.let { owner ->
                        member(line, since)?.let { owner.members += it }
                    }
                }
                since = SINCE.find(line)?.let { it.groupValues[1].toInt() }
                    ?: if (line.startsWith("*")) since else 1
            }
            return Declarations(types)
        }

        private fun parents(clause: String): List<String> =
            split(clause.trim().removePrefix("extends ").replace(" implements ", ","))
                .map { it.substringBefore('<') }

        private fun member(line: String, since: Int): Member? {
            METHOD.matchEntire(line)?.let {
                val (_, name, parameters, returned) = it.destructured
                return Member(name, since, split(parameters).map(::typeOf), returned.trim())
            }
            CONSTRUCTOR.matchEntire(line)?.let {
                return Member("<init>", since, split(it.groupValues[1]).map(::typeOf), "void")
            }
            return FIELD.matchEntire(line)?.let {
                Member(it.groupValues[1], since, null, it.groupValues[2].trim())
            }
        }

        private fun typeOf(parameter: String) = parameter.substringAfter(": ").trim()

        /** Splits at the commas outside of brackets. */
        private fun split(list: String): List<String> {
            val parts = mutableListOf(StringBuilder())
            var depth = 0
            for (char in list) {
                if (char in "<({") depth++
                if (char in ">)}") depth--
                if (char == ',' && depth == 0) parts += StringBuilder() else parts.last().append(char)
            }
            return parts.map { it.toString().trim() }.filter { it.isNotEmpty() }
        }
    }
}

class DeclaredType(val name: String, val since: Int, val parents: List<String>) {
    val members = mutableListOf<Member>()
}

/** @property parameters Null for fields; the [type] of a constant is its value if it is known. */
data class Member(val name: String, val since: Int, val parameters: List<String>?, val type: String)
