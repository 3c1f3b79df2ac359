package com.example.mtpchat.core

import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertTrue
import kotlinx.coroutines.flow.last
import kotlinx.coroutines.runBlocking

class AbReportTest {
    private fun reply(text: String, speed: Double, tokens: Int = 10, drafts: DraftStats? = null) =
        AbReply(text, ReplyStats(0.1, 5, tokens, speed, 15, drafts))

    private fun report(off: List<AbReply>, on: List<AbReply>) =
        AbReport(AbPlan("q", rounds = off.size, maxTokens = 100), Accelerator.CPU, off, on)

    @Test
    fun theRatioIsOfMedians() {
        val off = listOf(10.0, 11.0, 90.0).map { reply("a", it) }
        val on = listOf(22.0, 1.0, 30.0).map { reply("a", it) }
        assertEquals(2.0, report(off, on).ratio)
    }

    @Test
    fun oneRoundThatDiffersIsADifference() {
        val off = listOf(reply("same", 1.0), reply("same", 1.0))
        assertTrue(report(off, off).identical)
        assertFalse(report(off, listOf(reply("same", 1.0), reply("other", 1.0))).identical)
    }

    @Test
    fun overshootOfTheTokenLimitIsNoDifference() {
        val off = reply("one two", 1.0, tokens = 100)
        assertTrue(sameText(off, reply("one two three", 1.0, tokens = 102), maxTokens = 100))
        assertFalse(sameText(off, reply("one two three", 1.0, tokens = 99), maxTokens = 100))
        assertFalse(sameText(off, reply("one too", 1.0, tokens = 102), maxTokens = 100))
    }

    @Test
    fun theJsonIsOneLineWithAllFigures() {
        val json = report(
            listOf(reply("a\nb", 10.0)),
            listOf(reply("a\nb", 15.0, drafts = DraftStats(7, 9))),
        ).toJson(mapOf("device" to "desk"))
        assertFalse('\n' in json.toString())
        assertEquals(1.5, json["ratio"].asDouble)
        assertEquals("desk", json["device"].asString)
        assertTrue(json["identical_text"].asBoolean)
        assertEquals(7, json.getAsJsonObject("mtp_on")["drafts_accepted_estimate"].asInt)
        assertFalse(json.getAsJsonObject("mtp_off").has("drafts"))
    }

    @Test
    fun theComparisonAlternatesAndLeavesTheWarmUpOut() = runBlocking {
        val mode = RunMode(Accelerator.GPU, true)
        val bundle = ModelBundle(java.io.File("b"), 1, "1.0.0", emptyList(), null)
        val model = ScriptedRuntime().load(bundle, mode)
        val finished = compareMtp(model, AbPlan("q", rounds = 2)).last() as AbEvent.Finished
        assertEquals(2, finished.report.off.size)
        assertEquals(2.0, finished.report.ratio)
        assertEquals(Accelerator.GPU, finished.report.accelerator)
    }

    @Test
    fun aModelWithoutMtpCannotBeCompared() {
        val bundle = ModelBundle(java.io.File("b"), 1, "1.0.0", emptyList(), null)
        val error = assertFailsWith<FailureException> {
            runBlocking {
                val model = ScriptedRuntime().load(bundle, RunMode(Accelerator.CPU, false))
                compareMtp(model, AbPlan("q")).last()
            }
        }
        assertEquals(Failure.NoDrafter, error.failure)
    }

    @Test
    fun draftsAreEstimatedFromPieces() {
        assertEquals(DraftStats(83, 84), DraftStats.estimated(tokens = 111, pieces = 28, draftLength = 3))
        assertEquals(DraftStats(6, 6), DraftStats.estimated(tokens = 9, pieces = 2, draftLength = 3))
        assertEquals(0.0, DraftStats.estimated(tokens = 0, pieces = 0, draftLength = 3).rate)
    }
}
