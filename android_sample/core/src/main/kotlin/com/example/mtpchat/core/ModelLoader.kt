package com.example.mtpchat.core

import java.io.File
import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.currentCoroutineContext
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.isActive
import kotlinx.coroutines.withContext

/** What happens during a load: [Checked], one [Trying] per attempt, [Loaded]. */
sealed interface LoadEvent {
    data class Checked(val bundle: ModelBundle) : LoadEvent

    /** The engine starts; this is attempt number [attempt] of at most [attempts]. */
    data class Trying(val mode: RunMode, val attempt: Int, val attempts: Int) : LoadEvent

    /** @property setbacks Why it does not run in the mode the user would have liked best. */
    data class Loaded(
        val model: LoadedModel,
        val bundle: ModelBundle,
        val setbacks: List<Failure>,
    ) : LoadEvent
}

/** Loads a bundle in the best way that works here, and remembers which ones do not. */
class ModelLoader(
    private val runtime: LlmRuntime,
    private val memory: ModeMemory,
    private val dispatcher: CoroutineDispatcher = Dispatchers.IO,
) {
    /** The flow fails with [FailureException]. Cancelling it frees what was loaded meanwhile. */
    fun load(file: File, settings: ChatSettings): Flow<LoadEvent> = flow {
        val bundle = withContext(dispatcher) { readBundle(file).also(::checkGraphs) }
        emit(LoadEvent.Checked(bundle))
        val setbacks = knownSetbacks(bundle, settings).toMutableList()
        val modes = modesToTry(settings, bundle, memory.recall(bundle.identity))
        if (modes.isEmpty()) throw FailureException(Failure.MadeFor(bundle.accelerators.first()))
        for ((index, mode) in modes.withIndex()) {
            emit(LoadEvent.Trying(mode, index + 1, modes.size))
            try {
                val model = attempt(bundle, mode)
                if (!currentCoroutineContext().isActive) model.close()
                return@flow emit(LoadEvent.Loaded(model, bundle, setbacks))
            } catch (error: FailureException) {
                setbacks += error.failure as? Failure.ModeRefused ?: throw error
            }
        }
        throw FailureException(Failure.NothingWorked(setbacks))
    }

    /** What stands in the way before anything is tried. A mode that ended the process has failed. */
    private fun knownSetbacks(bundle: ModelBundle, settings: ChatSettings): List<Failure> {
        val found = memory.recall(bundle.identity)
        val record = found.copy(failed = found.failed + setOfNotNull(found.attempting), attempting = null)
        if (record != found) memory.remember(bundle.identity, record)
        val avoided = modesToTry(settings, bundle, ModeRecord()) -
            modesToTry(settings, bundle, record).toSet()
        return listOfNotNull(Failure.NoDrafter.takeIf { settings.mtp && !bundle.hasDrafter }) +
            listOfNotNull(found.attempting?.let(Failure::ModeCrashed)) +
            (avoided - setOfNotNull(found.attempting)).map(Failure::ModeAvoided)
    }

    /** A model that is loaded must not get lost to a cancellation, so there is none in here. */
    private suspend fun attempt(bundle: ModelBundle, mode: RunMode): LoadedModel =
        withContext(NonCancellable) {
            val before = memory.recall(bundle.identity)
            memory.remember(bundle.identity, before.copy(attempting = mode))
            var after = before
            try {
                withContext(dispatcher) { runtime.load(bundle, mode) }
                    .also { after = before.copy(failed = before.failed - mode) }
            } catch (error: FailureException) {
                if (error.failure is Failure.ModeRefused) {
                    after = before.copy(failed = before.failed + mode)
                }
                throw error
            } finally {
                memory.remember(bundle.identity, after)
            }
        }
}
