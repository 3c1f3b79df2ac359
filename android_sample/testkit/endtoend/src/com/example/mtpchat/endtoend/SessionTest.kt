package com.example.mtpchat.endtoend

import com.example.mtpchat.core.AbPlan
import com.example.mtpchat.core.Accelerator
import com.example.mtpchat.core.AcceleratorChoice
import com.example.mtpchat.core.ChatSettings
import com.example.mtpchat.core.ComparisonState
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.ModelState
import com.example.mtpchat.core.ReplyState
import com.example.mtpchat.core.RunMode
import com.example.mtpchat.endtoend.EngineFixture.BEAR
import com.example.mtpchat.endtoend.EngineFixture.ZEBRA
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertIs
import kotlin.test.assertTrue

/** Session, loader, library and transcript over the real engine. */
class SessionTest : SessionHarness() {
    @Test
    fun twoTurnsWithAStopBetweenThem() {
        assertEquals(EngineFixture.cpuMtp, open(EngineFixture.withDrafter.file).mode)
        onMain { session.send(BEAR) }
        session.await { it.reply is ReplyState.Streaming }
        onMain { session.stop() }
        val stopped = session.await { !it.isReplying }.messages.last()
        assertEquals(Ending.STOPPED, stopped.ending)
        val next = say(ZEBRA)
        assertEquals(Ending.COMPLETE, next.ending)
        assertTrue("zebra" in next.text, next.text)
    }

    @Test
    fun stoppedBeforeAnythingHappenedItRecovers() {
        open(EngineFixture.withDrafter.file)
        repeat(3) {
            onMain {
                session.send(BEAR)
                session.stop()
            }
            assertEquals(Ending.STOPPED, session.await { !it.isReplying }.messages.last().ending)
        }
        onMain {
            session.compare(AbPlan(BEAR))
            session.stop()
        }
        session.await { it.comparison == null }
        assertTrue("zebra" in say(ZEBRA).text)
    }

    @Test
    fun aDiskTooFullForTheTranscriptCostsOnlyTheTranscript() {
        open(EngineFixture.withDrafter.file)
        folder.deleteRecursively()
        assertTrue("bear" in say(BEAR).text)
    }

    @Test
    fun mtpOnEqualsMtpOffOverTwoTurns() {
        open(EngineFixture.withDrafter.file)
        val texts = listOf(true, false).map { mtp ->
            settings.value = settings.value.copy(mtp = mtp)
            session.await { (it.model as? ModelState.Ready)?.mode?.mtp == mtp }
            onMain { session.newChat() }
            session.await { it.messages.isEmpty() }
            listOf(say(BEAR).text, say(ZEBRA).text)
        }
        assertEquals(texts[1], texts[0])
    }

    @Test
    fun aChangeOfSettingsLoadsAgain() {
        open(EngineFixture.withDrafter.file)
        settings.value = settings.value.copy(mtp = false)
        session.await { (it.model as? ModelState.Ready)?.mode == EngineFixture.cpu }
        settings.value = settings.value.copy(mtp = true)
        session.await { (it.model as? ModelState.Ready)?.mode == EngineFixture.cpuMtp }
    }

    /** The check script hides whatever GPU there is, so that this always goes the same way. */
    @Test
    fun withoutAGpuItRunsOnTheCpuAndSaysWhy() {
        settings.value = ChatSettings()
        val ready = open(EngineFixture.foreign.file)
        assertEquals(EngineFixture.cpuMtp, ready.mode)
        val refused = ready.setbacks.map { (it as Failure.ModeRefused).mode }
        assertEquals(listOf(RunMode(Accelerator.GPU, true), RunMode(Accelerator.GPU, false)), refused)
        assertTrue("bear" in say(BEAR).text)
    }

    @Test
    fun aBundleMadeForTheCpuIsNotTriedOnAGpu() {
        settings.value = ChatSettings(accelerator = AcceleratorChoice.GPU_ONLY)
        onMain { session.open(EngineFixture.withDrafter.file) }
        assertEquals(Failure.MadeFor(Accelerator.CPU), session.await { it.failure != null }.failure)
        settings.value = ChatSettings()
        val ready = session.await { it.model is ModelState.Ready }.model as ModelState.Ready
        assertEquals(EngineFixture.cpuMtp, ready.mode)
        assertEquals(emptyList(), ready.setbacks)
    }

    @Test
    fun aBundleWithoutDrafterRunsAndSaysSo() {
        val ready = open(EngineFixture.withoutDrafter.file)
        assertEquals(EngineFixture.cpu, ready.mode)
        assertEquals(listOf<Failure>(Failure.NoDrafter), ready.setbacks)
        assertTrue("bear" in say(BEAR).text)
        assertEquals(false, session.state.value.canCompare)
    }

    @Test
    fun aCorruptBundleIsNamedAndTheNextOneLoads() {
        val bytes = EngineFixture.withDrafter.file.readBytes()
        val corrupt = File(folder, "corrupt.litertlm")
        val graph = EngineFixture.withDrafter.sections.first { it.type == "TFLiteModel" }.begin.toInt()
        corrupt.writeBytes(bytes.copyOf().also { it.fill(0x55, graph + 100, graph + 200) })
        onMain { session.open(corrupt) }
        assertIs<Failure.DamagedBundle>(session.await { it.failure != null }.failure)
        corrupt.writeBytes(bytes.copyOf(bytes.size / 2))
        onMain { session.open(corrupt) }
        val second = session.await { it.failure is Failure.DamagedBundle && "ends at" in "${it.failure}" }
        assertEquals(ModelState.None, second.model)
        open(EngineFixture.withDrafter.file)
        assertTrue("bear" in say(BEAR).text)
    }

    @Test
    fun anImportedBundleIsLoaded() {
        val file = EngineFixture.withDrafter.file
        onMain { session.import(picked(file)) }
        val ready = session.await { it.model is ModelState.Ready }.model as ModelState.Ready
        assertEquals(listOf(ready.bundle.file), library.files())
        assertEquals("int8", ready.bundle.manifest?.recipe)
        assertEquals(3, ready.bundle.manifest?.draftLength)
        assertEquals(Accelerator.CPU, ready.bundle.manifest?.accelerator)
        assertEquals("target", ready.bundle.manifest?.target)
    }

    @Test
    fun theConversationOutlivesTheProcess() {
        open(EngineFixture.withDrafter.file)
        say(BEAR)
        awaitSaved()
        val restored = session().await { it.messages.isNotEmpty() }.messages
        assertEquals(session.state.value.messages.map { it.text }, restored.map { it.text })
    }

    @Test
    fun theComparisonEndsInAReportAndLeavesTheChatAlone() {
        open(EngineFixture.withDrafter.file)
        onMain { session.compare(AbPlan(BEAR, rounds = 1, maxTokens = 40)) }
        val state = session.await { it.comparison is ComparisonState.Finished }
        assertTrue((state.comparison as ComparisonState.Finished).report.identical)
        assertEquals(emptyList(), state.messages)
        onMain { session.compare(AbPlan(BEAR, rounds = 50, maxTokens = 100)) }
        onMain { session.stop() }
        session.await { it.comparison == null }
        assertTrue("bear" in say(BEAR).text)
    }
}
