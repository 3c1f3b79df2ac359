package com.example.mtpchat.endtoend

import com.example.mtpchat.core.AbJob
import com.example.mtpchat.core.BundleLibrary
import com.example.mtpchat.litert.LiteRtLmRuntime
import java.io.File
import kotlinx.coroutines.runBlocking

/**
 * Stands in for `am instrument` on the desktop: the same job on the same engine, answered in the same form.
 * Arguments: the folder of bundles, then keys and values.
 */
fun main(arguments: Array<String>) {
    val asked = arguments.drop(1).chunked(2).associate { (key, value) -> key to value }
    val runtime = LiteRtLmRuntime(weightCache = null, threads = 1, verbose = true)
    val job = AbJob(runtime, BundleLibrary(File(arguments[0])))
    val report = runBlocking { job.run(asked, mapOf("device" to "desktop")) }
    println("INSTRUMENTATION_RESULT: report=$report")
    println("INSTRUMENTATION_CODE: -1")
}
