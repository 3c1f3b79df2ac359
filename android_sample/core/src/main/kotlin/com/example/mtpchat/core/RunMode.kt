package com.example.mtpchat.core

/** Where the model runs. */
enum class Accelerator { GPU, CPU }

/** One way of running a bundle: on which accelerator, with or without speculative decoding. */
data class RunMode(val accelerator: Accelerator, val mtp: Boolean)

/** Which accelerators the user allows. */
enum class AcceleratorChoice(val allowed: List<Accelerator>) {
    AUTOMATIC(listOf(Accelerator.GPU, Accelerator.CPU)),
    GPU_ONLY(listOf(Accelerator.GPU)),
    CPU_ONLY(listOf(Accelerator.CPU)),
}
