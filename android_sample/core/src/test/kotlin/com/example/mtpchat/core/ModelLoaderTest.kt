package com.example.mtpchat.core

import com.example.mtpchat.core.Accelerator.CPU
import com.example.mtpchat.core.Accelerator.GPU
import java.io.File
import kotlin.io.path.createTempDirectory
import kotlin.test.AfterTest
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertTrue
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking

class ModelLoaderTest {
    private val gpuMtp = RunMode(GPU, true)
    private val gpu = RunMode(GPU, false)
    private val cpuMtp = RunMode(CPU, true)
    private val cpu = RunMode(CPU, false)

    private val folder = createTempDirectory().toFile()
    private val file = writeSmallBundle(
        File(folder, "b.litertlm"), listOf("tf_lite_prefill_decode", "tf_lite_mtp_drafter"),
    )
    private val memory = MemoryInMemory()
    private val record get() = memory.records.values.single()

    @AfterTest
    fun tidy() {
        folder.deleteRecursively()
    }

    private fun events(runtime: LlmRuntime, settings: ChatSettings = ChatSettings()) =
        runBlocking { ModelLoader(runtime, memory).load(file, settings).toList() }

    private fun loaded(runtime: LlmRuntime) = events(runtime).last() as LoadEvent.Loaded

    private fun refusals(vararg modes: RunMode) = modes.map { Failure.ModeRefused(it, "scripted") }

    @Test
    fun itFallsBackAndTellsWhy() {
        val events = events(ScriptedRuntime(refused = setOf(gpuMtp, gpu)))
        assertIs<LoadEvent.Checked>(events.first())
        assertEquals(
            listOf(
                LoadEvent.Trying(gpuMtp, 1, 4),
                LoadEvent.Trying(gpu, 2, 4),
                LoadEvent.Trying(cpuMtp, 3, 4),
            ),
            events.filterIsInstance<LoadEvent.Trying>(),
        )
        val loaded = events.last() as LoadEvent.Loaded
        assertEquals(cpuMtp, loaded.model.mode)
        assertEquals(refusals(gpuMtp, gpu), loaded.setbacks)
    }

    @Test
    fun nextTimeItStartsWithWhatWorked() {
        events(ScriptedRuntime(refused = setOf(gpuMtp, gpu)))
        val again = ScriptedRuntime()
        val setbacks = loaded(again).setbacks
        assertEquals(listOf(cpuMtp), again.tried)
        assertEquals(listOf(Failure.ModeAvoided(gpuMtp), Failure.ModeAvoided(gpu)), setbacks)
    }

    @Test
    fun aModeThatEndedTheProcessIsNotTriedAgain() {
        memory.remember(readBundle(file).identity, ModeRecord(attempting = gpuMtp))
        val next = ScriptedRuntime()
        assertEquals(listOf(Failure.ModeCrashed(gpuMtp)), loaded(next).setbacks)
        assertEquals(listOf(gpu), next.tried)
        assertEquals(ModeRecord(failed = setOf(gpuMtp)), record)
    }

    @Test
    fun theAttemptIsOnRecordWhileItRuns() {
        var seen: ModeRecord? = null
        events(ScriptedRuntime { seen = record })
        assertEquals(ModeRecord(attempting = gpuMtp), seen)
        assertEquals(ModeRecord(), record)
    }

    @Test
    fun nothingWorkedListsEverything() {
        val all = arrayOf(gpuMtp, gpu, cpuMtp, cpu)
        val error = assertFailsWith<FailureException> { events(ScriptedRuntime(refused = all.toSet())) }
        assertEquals(Failure.NothingWorked(refusals(*all)), error.failure)
    }

    @Test
    fun aBundleWithoutDrafterSaysSo() {
        writeSmallBundle(file, listOf("tf_lite_prefill_decode"))
        val loaded = loaded(ScriptedRuntime())
        assertEquals(gpu, loaded.model.mode)
        assertEquals(listOf<Failure>(Failure.NoDrafter), loaded.setbacks)
    }

    @Test
    fun aModelLoadedForNobodyIsClosed() = runBlocking {
        val loading = CompletableDeferred<Unit>()
        val goOn = CompletableDeferred<Unit>()
        val runtime = ScriptedRuntime { loading.complete(Unit); goOn.await() }
        val job = launch { ModelLoader(runtime, memory).load(file, ChatSettings()).last() }
        loading.await()
        val cancelled = async { job.cancelAndJoin() }
        goOn.complete(Unit)
        cancelled.await()
        assertEquals(listOf(gpuMtp), runtime.closed)
        assertTrue(job.isCancelled)
    }
}
