package com.example.mtpchat.core

import java.io.File

/** A `.litertlm` file whose header was read. Works for bundles of other tools as well. */
data class ModelBundle(
    val file: File,
    val bytes: Long,
    val version: String,
    val sections: List<BundleSection>,
    val manifest: BundleManifest?,
) {
    val name: String get() = file.name

    /** Whether speculative decoding is possible. */
    val hasDrafter: Boolean get() = has(DRAFTER)

    /** What may go with a message. To ask the engine for more than this is an error. */
    val takes: Set<AttachmentKind>
        get() = setOfNotNull(
            AttachmentKind.PICTURE.takeIf { has(VISION_ENCODER) },
            AttachmentKind.SOUND.takeIf { has(AUDIO_ENCODER) },
        )
    val takesPictures: Boolean get() = AttachmentKind.PICTURE in takes
    val takesSound: Boolean get() = AttachmentKind.SOUND in takes

    /** How much is recorded at the most: what it hears at once. Longer sound would be cut into pieces. */
    val soundSeconds: Int get() = manifest?.soundSeconds ?: USUAL_SOUND_SECONDS

    /** Where its graphs run. `mtp-export` makes bundles for one or the other; other tools do not tell. */
    val accelerators: Set<Accelerator>
        get() = manifest?.let { setOf(it.accelerator) } ?: Accelerator.entries.toSet()

    /** The same file, as far as can be told without reading all of it. */
    val identity: String get() = "$name:$bytes:${file.lastModified()}"

    private fun has(modelType: String) = sections.any { it.modelType == modelType }

    private companion object {
        const val DRAFTER = "tf_lite_mtp_drafter"
        const val VISION_ENCODER = "tf_lite_vision_encoder"
        const val AUDIO_ENCODER = "tf_lite_audio_encoder_hw"
        const val USUAL_SOUND_SECONDS = 30
    }
}

/**
 * One section of a bundle.
 *
 * @property type The section's data type, such as `TFLiteModel`.
 * @property metadata The text entries attached to it.
 */
data class BundleSection(
    val type: String,
    val metadata: Map<String, String>,
    val begin: Long,
    val end: Long,
) {
    val bytes: Long get() = end - begin
    val modelType: String? get() = metadata["model_type"]
}

/** What `mtp-export` wrote about the bundle, as far as this app uses it. */
data class BundleManifest(
    val target: String,
    val drafter: String?,
    val recipe: String,
    val accelerator: Accelerator,
    val cacheLength: Int,
    val draftLength: Int?,
    val soundSeconds: Int? = null,
)
