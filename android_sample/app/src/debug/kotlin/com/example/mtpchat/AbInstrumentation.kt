package com.example.mtpchat

import android.app.Activity
import android.app.Instrumentation
import android.os.Build
import android.os.Bundle
import com.example.mtpchat.core.AbJob
import com.example.mtpchat.litert.LiteRtLmRuntime
import kotlinx.coroutines.runBlocking

private const val REPORT = "report"

/**
 * Runs a comparison without the screen: `am instrument -w -e bundle NAME ...`, in a process of its own
 * making. The result holds one line of JSON under `report`; see [AbJob] for the arguments.
 */
class AbInstrumentation : Instrumentation() {
    private var arguments: Map<String, String> = emptyMap()

    override fun onCreate(arguments: Bundle) {
        super.onCreate(arguments)
        this.arguments = arguments.keySet().associateWith { arguments.getString(it).orEmpty() }
        start()
    }

    override fun onStart() {
        super.onStart()
        val app = targetContext.applicationContext as ChatApplication
        val job = AbJob(LiteRtLmRuntime(weightCache = app.cacheDir, verbose = true), app.library)
        val report = runBlocking { job.run(arguments, about()) }
        finish(Activity.RESULT_OK, Bundle().apply { putString(REPORT, report.toString()) })
    }

    private fun about(): Map<String, String> = mapOf(
        "device" to "${Build.MANUFACTURER} ${Build.MODEL}",
        "board" to Build.BOARD,
        "android" to Build.VERSION.RELEASE,
    )
}
