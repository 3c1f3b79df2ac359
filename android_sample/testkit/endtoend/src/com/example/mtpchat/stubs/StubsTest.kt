package com.example.mtpchat.stubs

import java.io.File
import java.lang.reflect.Constructor
import java.lang.reflect.Executable
import java.lang.reflect.Field
import java.lang.reflect.Method
import java.lang.reflect.Modifier
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertTrue

private const val MIN_SDK = 26

/** Every stub says of Android what Android says of itself, and nothing newer than minSdk. */
class StubsTest {
    private val sample = File(System.getProperty("sample"))
    private val declarations = Declarations.read(File(System.getProperty("android.declarations")))
    private val root = File(sample, "testkit/android/src")
    private val stubs: List<Class<*>> = root.walk().filter { it.extension == "java" }
        .map { it.relativeTo(root).path.removeSuffix(".java").replace('/', '.') }
        .filter { it.startsWith("android.") }
        .map { Class.forName(it) }
        .flatMap { listOf(it) + it.declaredClasses }
        .toList()

    @Test
    fun theDeclarationsWereRead() {
        val setText = declarations.lineage("android.widget.EditText").flatMap { it.members }
            .filter { it.name == "setText" }
        assertTrue(setText.size >= 5, "$setText")
        assertTrue(stubs.size > 40, "${stubs.size} stubs")
        val context = declarations["android.content.Context"]!!.members
        assertEquals(28, context.single { it.name == "getMainExecutor" }.since)
    }

    @Test
    fun everyTypeExistsWithItsParents() = assertNone(
        stubs.flatMap { stub ->
            val lineage = declarations.lineage(stub.declaredName).map { it.name }
            val parents = listOfNotNull(stub.superclass) + stub.interfaces
            when {
                lineage.isEmpty() -> listOf("$stub is not declared")
                declarations[stub.declaredName]!!.since > MIN_SDK -> listOf("$stub is newer than $MIN_SDK")
                else -> parents.map { it.declaredName }.filter { it.startsWith("android.") && it !in lineage }
                    .map { "$stub does not descend from $it" }
            }
        },
    )

    @Test
    fun everyMethodExists() = assertNone(
        stubs.flatMap { stub ->
            val executables = stub.declaredMethods.toList<Executable>() + stub.declaredConstructors
            executables.filter { it.isVisible() && !it.isSynthetic }.mapNotNull { problem(stub, it) }
        },
    )

    @Test
    fun everyFieldExistsAndConstantsHaveTheirValues() = assertNone(
        stubs.flatMap { stub -> stub.declaredFields.mapNotNull { problem(stub, it) } },
    )

    private fun problem(stub: Class<*>, executable: Executable): String? {
        val name = if (executable is Constructor<*>) "<init>" else executable.name
        val owners = when (executable) {
            is Constructor<*> -> listOfNotNull(declarations[stub.declaredName])
            else -> declarations.lineage(stub.declaredName)
        }
        val matching = owners.flatMap { it.members }.filter { it.name == name && fits(it, executable) }
        if (matching.isEmpty() && isDefaultConstructor(executable)) return null
        return when {
            matching.isEmpty() -> "$executable is not declared"
            matching.all { it.since > MIN_SDK } -> "$executable is newer than $MIN_SDK"
            executable is Method -> nullability(executable, matching.first())
            else -> null
        }
    }

    /** The compiler adds these to stubs of classes that are made by inflation or by the system. */
    private fun isDefaultConstructor(executable: Executable) =
        executable is Constructor<*> && executable.parameterCount == 0

    private fun fits(member: Member, executable: Executable): Boolean {
        val parameters = member.parameters ?: return false
        val returned = (executable as? Method)?.returnType ?: Void.TYPE
        return parameters.size == executable.parameterCount && returned.fits(member.type) &&
            parameters.zip(executable.parameterTypes).all { (declared, given) -> given.fits(declared) }
    }

    private fun nullability(method: Method, member: Member): String? {
        val marked = method.isAnnotationPresent(androidx.annotation.Nullable::class.java)
        val declared = member.type.endsWith("| null")
        return "$method: nullable is declared $declared, marked $marked".takeIf { marked != declared }
    }

    private fun problem(stub: Class<*>, field: Field): String? {
        if (!Modifier.isPublic(field.modifiers)) return null
        val declared = declarations.lineage(stub.declaredName).flatMap { it.members }
            .find { it.name == field.name && it.parameters == null } ?: return "$field is not declared"
        return when {
            declared.since > MIN_SDK -> "$field is newer than $MIN_SDK"
            field.type.fits(declared.type) || valueOf(field) == declared.type -> null
            else -> "$field is ${valueOf(field)}, declared ${declared.type}"
        }
    }

    /** As the declarations write it; null for what is not a constant. */
    private fun valueOf(field: Field): String? {
        if (!Modifier.isStatic(field.modifiers)) return null
        field.isAccessible = true
        return field.get(null).let { if (it is String) "\"$it\"" else "$it" }
    }

    private fun Class<*>.fits(declared: String): Boolean {
        val type = declared.removeSuffix("| null").substringBefore("/*").trim()
        return when {
            type == "number" -> isPrimitive && this != Boolean::class.java && this != Void.TYPE
            type == "boolean" -> this == Boolean::class.java
            type == "void" -> this == Void.TYPE
            type == "string" -> this == String::class.java || this == CharSequence::class.java
            type == "any" || type.length == 1 -> !isPrimitive
            type.startsWith("androidNative.Array<") ->
                isArray && componentType.fits(type.removePrefix("androidNative.Array<").removeSuffix(">"))
            else -> declaredName == type.substringBefore('<')
        }
    }

    private val Class<*>.declaredName: String get() = name.replace('$', '.')

    private fun Executable.isVisible() = Modifier.isPublic(modifiers) || Modifier.isProtected(modifiers)

    private fun assertNone(problems: List<String>) = assertEquals("", problems.joinToString("\n"))
}
