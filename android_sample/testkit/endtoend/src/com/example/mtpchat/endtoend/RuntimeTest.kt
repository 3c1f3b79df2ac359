package com.example.mtpchat.endtoend

import com.example.mtpchat.core.AbEvent
import com.example.mtpchat.core.AbPlan
import com.example.mtpchat.core.ChatMessage
import com.example.mtpchat.core.Ending
import com.example.mtpchat.core.Failure
import com.example.mtpchat.core.FailureException
import com.example.mtpchat.core.ReplyEvent
import com.example.mtpchat.core.ReplyOptions
import com.example.mtpchat.core.Speaker
import com.example.mtpchat.core.compareMtp
import com.example.mtpchat.endtoend.EngineFixture.BEAR
import com.example.mtpchat.endtoend.EngineFixture.ZEBRA
import com.example.mtpchat.endtoend.EngineFixture.withModel
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertIs
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.runBlocking

private const val EXAMPLE = "testkit/endtoend/src/com/example/mtpchat/endtoend/ReadmeExample.kt"

/** The adapter on the real engine: every behaviour of the engine that it has to handle. */
class RuntimeTest {
    private val on = ReplyOptions(mtp = true)
    private val off = ReplyOptions(mtp = false)

    @Test
    fun mtpStreamsTheSameTextInFewerPieces() = withModel { model ->
        val fast = model.answer(BEAR, options = on)
        val slow = model.answer(BEAR, options = off)
        assertEquals(slow.text, fast.text)
        assertTrue(fast.text.length > 200, fast.text)
        assertTrue(fast.pieces * 2 < slow.pieces, "${fast.pieces} pieces with, ${slow.pieces} without")
        assertEquals(Ending.COMPLETE, fast.done.ending)
    }

    /** The example in the sample's README is the one that runs here. */
    @Test
    fun theExampleInTheReadmeWorks() {
        val readme = File(System.getProperty("sample"), "README.md").readText()
        val example = readme.substringAfter("```kotlin\n").substringBefore("```").trim().lines()
        val source = File(System.getProperty("sample"), EXAMPLE).readText()
        val here = source.substringAfter("// README {\n").substringBefore("// }").trimIndent().trim().lines()
        assertEquals(example, here)
        assertTrue("bear" in readmeExample(EngineFixture.withDrafter.file))
    }

    @Test
    fun everyReplyHasStatistics() = withModel { model ->
        val stats = model.answer(BEAR, options = on).done.stats
        assertTrue(stats.secondsToFirstToken > 0 && stats.tokensPerSecond > 0, "$stats")
        assertTrue(stats.promptTokens in 10..40 && stats.replyTokens > 50, "$stats")
        assertTrue(stats.contextTokens >= stats.promptTokens + stats.replyTokens, "$stats")
        val drafts = assertNotNull(stats.drafts)
        assertTrue(drafts.rate in 0.5..1.0, "the tiny pair's drafter is nearly always right: $drafts")
        assertNull(model.answer(BEAR, options = off).done.stats.drafts)
    }

    @Test
    fun theSecondTurnSeesTheFirstAndIsTheSameWithAndWithoutMtp() = withModel { model ->
        val history = model.answer(BEAR).after(emptyList(), BEAR)
        val fast = model.answer(ZEBRA, history, on)
        val slow = model.answer(ZEBRA, history, off)
        assertEquals(slow.text, fast.text)
        assertTrue(fast.done.stats.contextTokens > model.answer(ZEBRA).done.stats.contextTokens + 100)
    }

    @Test
    fun aConversationMayAlsoBeContinued() = withModel { model ->
        val keeping = on.copy(rebuildContext = false)
        val first = model.answer(BEAR, options = keeping)
        val second = model.answer(ZEBRA, first.after(emptyList(), BEAR), keeping)
        val prefilled = second.done.stats.promptTokens
        assertTrue(prefilled < 40, "only the new turn was read, $prefilled tokens")
        val rebuilt = model.answer(ZEBRA, first.after(emptyList(), BEAR), on)
        assertTrue(rebuilt.done.stats.promptTokens > 100)
    }

    @Test
    fun stoppedInMidAnswerItRecovers() = withModel { model ->
        for (options in listOf(on, off, on.copy(rebuildContext = false))) {
            val whole = model.answer(BEAR, options = options).text
            val begun = model.reply(emptyList(), BEAR, options).take(4).toList()
            val said = begun.filterIsInstance<ReplyEvent.Text>().joinToString("") { it.piece }
            assertTrue(said.isNotEmpty() && whole.startsWith(said) && said != whole, said)
            val history = listOf(
                ChatMessage(Speaker.USER, BEAR),
                ChatMessage(Speaker.MODEL, said, Ending.STOPPED),
            )
            assertTrue("zebra" in model.answer(ZEBRA, history, options).text)
            assertEquals(whole, model.answer(BEAR, options = options).text)
            model.reply(emptyList(), BEAR, options).take(4).toList()
            assertEquals(whole, model.answer(BEAR, options = options).text, "asked again right after a stop")
        }
    }

    @Test
    fun stoppedDuringPrefillItRecovers() = withModel { model ->
        repeat(5) {
            model.reply(emptyList(), BEAR, on).takeWhile { it !is ReplyEvent.Prefill }.toList()
            model.reply(emptyList(), BEAR, on).take(1).toList()
        }
        assertTrue("bear" in model.answer(BEAR).text)
    }

    /** Eight turns and a question are 1103 tokens, padded to 1024 + 128: they fit, their reply does not. */
    @Test
    fun aFullContextEndsTheReplyAndThenRefuses() = withModel(contextTokens = 1200) { model ->
        val turn = model.answer(BEAR).after(emptyList(), BEAR)
        val almostFull = List(8) { turn }.flatten()
        for (options in listOf(on, off)) {
            val cut = model.answer(BEAR, almostFull, options)
            assertEquals(Ending.CONTEXT_FULL, cut.done.ending)
            val error = assertFailsWith<FailureException> {
                model.answer(BEAR, cut.after(almostFull, BEAR), options)
            }
            assertEquals(Failure.ContextFull(1200), error.failure)
            assertTrue("bear" in model.answer(BEAR, options = options).text, "a new chat works")
        }
    }

    @Test
    fun mtpWithoutADrafterIsRefusedWithItsReason() {
        val error = assertFailsWith<FailureException> {
            withModel(EngineFixture.withoutDrafter, EngineFixture.cpuMtp) { model -> model.answer(BEAR) }
        }
        assertEquals(Failure.NoDrafter, error.failure)
        withModel(EngineFixture.withoutDrafter, EngineFixture.cpu) { model ->
            assertTrue("bear" in model.answer(BEAR).text)
            val asked = assertFailsWith<FailureException> { model.answer(BEAR, options = on) }
            assertEquals(Failure.NoDrafter, asked.failure)
        }
    }

    @Test
    fun closingTwiceIsFine() = withModel { model ->
        model.answer(BEAR, options = on.copy(rebuildContext = false))
        model.close()
        model.close()
    }

    @Test
    fun theComparisonFindsTheSameText() = withModel { model ->
        val finished = compareMtp(model, AbPlan(BEAR, rounds = 2, maxTokens = 50)).last()
        val report = assertIs<AbEvent.Finished>(finished).report
        assertTrue(report.identical, report.toJson(emptyMap()).toString())
        assertTrue(report.ratio > 0)
        assertTrue(report.on.all { it.stats.replyTokens in 50..53 }, "the limit, and part of a round")
        assertTrue(report.off.all { it.stats.replyTokens == 50 })
    }

    @Test
    fun aReplyAfterCloseFailsInsteadOfCrashing() {
        val closed = runBlocking {
            EngineFixture.runtime().load(EngineFixture.withDrafter, EngineFixture.cpuMtp).also { it.close() }
        }
        assertFailsWith<FailureException> { runBlocking { closed.answer(BEAR) } }
    }
}
