package com.example.mtpchat.core

/**
 * What is known about running one bundle on this device. What did not fail is worth a try: so the mode
 * that worked last time comes first this time.
 *
 * @property attempting Written before an engine is started and cleared after it. Found at the next
 *   start, it means that the process died in between: GPU drivers can do that.
 */
data class ModeRecord(
    val failed: Set<RunMode> = emptySet(),
    val attempting: RunMode? = null,
)

/** Remembers [ModeRecord]s, by [ModelBundle.identity], across starts. */
interface ModeMemory {
    fun recall(bundle: String): ModeRecord

    /** Must be on disk when it returns: the next thing that happens may be a crash. */
    fun remember(bundle: String, record: ModeRecord)
}

/**
 * The ways to try, best first: GPU with MTP, GPU, CPU with MTP, CPU, as far as user and bundle allow.
 *
 * What failed before is left out, unless nothing else is left: then the user has narrowed the choice
 * down to it on purpose.
 */
fun modesToTry(settings: ChatSettings, bundle: ModelBundle, record: ModeRecord): List<RunMode> {
    val allowed = settings.accelerator.allowed.filter { it in bundle.accelerators }.flatMap { accelerator ->
        listOf(true, false)
            .filter { mtp -> !mtp || (settings.mtp && bundle.hasDrafter) }
            .map { mtp -> RunMode(accelerator, mtp) }
    }
    return allowed.filter { it !in record.failed }.ifEmpty { allowed }
}
