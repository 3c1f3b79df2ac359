package com.example.mtpchat.core

import com.example.mtpchat.core.Accelerator.CPU
import com.example.mtpchat.core.Accelerator.GPU
import java.io.File
import kotlin.test.Test
import kotlin.test.assertEquals

class ModeMemoryTest {
    private val gpuMtp = RunMode(GPU, true)
    private val gpu = RunMode(GPU, false)
    private val cpuMtp = RunMode(CPU, true)
    private val cpu = RunMode(CPU, false)

    private fun bundle(vararg models: String, manifest: BundleManifest? = null) = ModelBundle(
        File("b.litertlm"), 1, "1.0.0",
        models.map { BundleSection("TFLiteModel", mapOf("model_type" to it), 0, 0) }, manifest,
    )

    private val pair = bundle("tf_lite_prefill_decode", "tf_lite_mtp_drafter")
    private val targetOnly = bundle("tf_lite_prefill_decode")

    @Test
    fun aBundleMadeForOneAcceleratorIsNotTriedOnTheOther() {
        for ((accelerator, modes) in mapOf(GPU to listOf(gpuMtp, gpu), CPU to listOf(cpuMtp, cpu))) {
            val manifest = BundleManifest("t", "d", "int8", accelerator, 4096, 3)
            val made = bundle("tf_lite_mtp_drafter", manifest = manifest)
            assertEquals(modes, modesToTry(ChatSettings(), made, ModeRecord()))
        }
    }

    @Test
    fun bestComesFirst() {
        assertEquals(listOf(gpuMtp, gpu, cpuMtp, cpu), modesToTry(ChatSettings(), pair, ModeRecord()))
    }

    @Test
    fun noDrafterOrNoWishMeansNoMtp() {
        assertEquals(listOf(gpu, cpu), modesToTry(ChatSettings(), targetOnly, ModeRecord()))
        assertEquals(listOf(gpu, cpu), modesToTry(ChatSettings(mtp = false), pair, ModeRecord()))
    }

    @Test
    fun theUserNarrowsItDown() {
        val onCpu = ChatSettings(accelerator = AcceleratorChoice.CPU_ONLY)
        assertEquals(listOf(cpuMtp, cpu), modesToTry(onCpu, pair, ModeRecord()))
    }

    @Test
    fun whatFailedIsLeftOut() {
        val record = ModeRecord(failed = setOf(gpuMtp))
        assertEquals(listOf(gpu, cpuMtp, cpu), modesToTry(ChatSettings(), pair, record))
    }

    @Test
    fun whatFailedIsTriedAgainWhenNothingElseIsAllowed() {
        val onGpu = ChatSettings(accelerator = AcceleratorChoice.GPU_ONLY)
        val record = ModeRecord(failed = setOf(gpuMtp, gpu))
        assertEquals(listOf(gpuMtp, gpu), modesToTry(onGpu, pair, record))
    }
}
