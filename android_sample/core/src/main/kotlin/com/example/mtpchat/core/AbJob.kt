package com.example.mtpchat.core

import com.google.gson.JsonObject
import java.util.Base64
import kotlinx.coroutines.flow.last

/**
 * A comparison as a script asks for it: texts in, one JSON object out, no fallback. A refusal is a result
 * as well, under the key `error`.
 */
class AbJob(private val runtime: LlmRuntime, private val library: BundleLibrary) {

    /**
     * @param arguments `bundle` (a file name), `prompt_base64` (no shell mangles that), and optionally
     *   `accelerator` (CPU or GPU), `rounds`, `max_tokens`.
     * @param about Goes into the result as it is: device, app version.
     */
    suspend fun run(arguments: Map<String, String>, about: Map<String, String>): JsonObject = try {
        compared(arguments, about)
    } catch (error: FailureException) {
        failed(about, error.failure.toString())
    } catch (error: IllegalArgumentException) {
        failed(about, "wrong argument: ${error.message}")
    }

    private suspend fun compared(arguments: Map<String, String>, about: Map<String, String>): JsonObject {
        val name = requireNotNull(arguments["bundle"]) { "bundle is missing" }
        val plan = AbPlan(
            prompt = requireNotNull(arguments["prompt_base64"]) { "prompt_base64 is missing" }
                .let { String(Base64.getDecoder().decode(it), Charsets.UTF_8) },
            rounds = arguments["rounds"]?.toInt() ?: DEFAULT_ROUNDS,
            maxTokens = arguments["max_tokens"]?.toInt() ?: DEFAULT_MAX_TOKENS,
        )
        val accelerator = Accelerator.valueOf(arguments["accelerator"] ?: Accelerator.CPU.name)
        val file = library.find(name) ?: throw FailureException(Failure.MissingFile(name))
        val bundle = readBundle(file).also(::checkGraphs)
        if (!bundle.hasDrafter) throw FailureException(Failure.NoDrafter)
        if (accelerator !in bundle.accelerators) {
            throw FailureException(Failure.MadeFor(bundle.accelerators.first()))
        }
        val model = runtime.load(bundle, RunMode(accelerator, mtp = true))
        try {
            val finished = compareMtp(model, plan).last() as AbEvent.Finished
            return finished.report.toJson(about + bundle.facts())
        } finally {
            model.close()
        }
    }

    private fun failed(about: Map<String, String>, error: String) = JsonObject().apply {
        about.forEach(::addProperty)
        addProperty("error", error)
    }

    private companion object {
        const val DEFAULT_ROUNDS = 3
        const val DEFAULT_MAX_TOKENS = 128
    }
}

private fun ModelBundle.facts(): Map<String, String> = mapOf(
    "bundle" to name,
    "bundle_bytes" to bytes.toString(),
    "recipe" to manifest?.recipe.orEmpty(),
    "target" to manifest?.target.orEmpty(),
)
