package com.example.mtpchat.core

import com.example.mtpchat.core.Accelerator.CPU
import com.example.mtpchat.core.Accelerator.GPU
import kotlin.test.Test
import kotlin.test.assertEquals

class ModeMemoryTest {
    private val gpuMtp = RunMode(GPU, true)
    private val gpu = RunMode(GPU, false)
    private val cpuMtp = RunMode(CPU, true)
    private val cpu = RunMode(CPU, false)

    @Test
    fun bestComesFirst() {
        assertEquals(listOf(gpuMtp, gpu, cpuMtp, cpu), modesToTry(ChatSettings(), true, ModeRecord()))
    }

    @Test
    fun noDrafterOrNoWishMeansNoMtp() {
        assertEquals(listOf(gpu, cpu), modesToTry(ChatSettings(), false, ModeRecord()))
        assertEquals(listOf(gpu, cpu), modesToTry(ChatSettings(mtp = false), true, ModeRecord()))
    }

    @Test
    fun theUserNarrowsItDown() {
        val onCpu = ChatSettings(accelerator = AcceleratorChoice.CPU_ONLY)
        assertEquals(listOf(cpuMtp, cpu), modesToTry(onCpu, true, ModeRecord()))
    }

    @Test
    fun whatFailedIsLeftOut() {
        val record = ModeRecord(failed = setOf(gpuMtp))
        assertEquals(listOf(gpu, cpuMtp, cpu), modesToTry(ChatSettings(), true, record))
    }

    @Test
    fun whatFailedIsTriedAgainWhenNothingElseIsAllowed() {
        val onGpu = ChatSettings(accelerator = AcceleratorChoice.GPU_ONLY)
        val record = ModeRecord(failed = setOf(gpuMtp, gpu))
        assertEquals(listOf(gpuMtp, gpu), modesToTry(onGpu, true, record))
    }
}
