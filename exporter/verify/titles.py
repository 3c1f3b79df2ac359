"""The rungs' names and what to do where one fails, in the order they build on each other."""

from __future__ import annotations

from exporter.verify.rung import Title

CHECKSUMS = Title(
    "checksums",
    "Every section has the bytes that were exported",
    "Copy the bundle again from where it was exported, or export it again; nothing else was looked at.",
)
CONTRACT = Title(
    "contract",
    "The bundle keeps the engine's contract",
    "If the problem names the checkpoints, give --target and --drafter of the same size and kind as the "
    "bundle was made from; otherwise export it again with this version of mtp-export.",
)
WEIGHTS = Title(
    "weights",
    "Stored weights are the checkpoints' weights",
    "Give the very checkpoints, --lora and --drafter-lora that were exported (the notes say which files "
    "differ; inspect shows the manifest); if they are the ones, export again and report it as a bug.",
)
MODEL = Title(
    "model",
    "Our torch model is transformers' model",
    "Look at transformers' version: pip install 'mtp-export[reference]' installs one that was tested; with "
    "it, this is a bug of mtp-export that concerns every export of this checkpoint.",
)
GRAPHS = Title(
    "graphs",
    "LiteRT computes what our model computes",
    "Export again with --fresh-graphs; if the same figures are outside, try --recipe float32 to tell a "
    "wrong graph from a kernel of this LiteRT version, and report it with both reports.",
)
SHAPES = Title(
    "shapes",
    "decode, verify and prefill agree with each other",
    "Do not use the bundle with MTP: its text may change with it. Export again with --fresh-graphs; if it "
    "still fails, report it with the LiteRT version.",
)
QUANTISATION = Title(
    "quantisation",
    "The bundle against the float model, on the given text",
    "Choose a recipe that loses less: quantize-report compares them on your text, -clip and -gptq recipes "
    "keep more at the same size. Give --prompts like what the model was trained on.",
)
DRAFTER = Title(
    "drafter",
    "The drafter is transformers' assistant",
    "If only LiteRT's drafts differ, keep the drafter in int8 or float32 by another recipe; if torch's "
    "worst step is outside, look at transformers' version (pip install 'mtp-export[reference]').",
)
LOOP = Title(
    "loop",
    "The speculative loop gives greedy decoding's tokens",
    "Use the bundle with MTP off until this is understood; if the shapes rung passed, report it as a bug.",
)
CONVERSATIONS = Title(
    "conversations",
    "Prompts of every kind of conversation are the engine's",
    "If they differ from transformers', give the checkpoint that was exported, or export again; if from the "
    "engine's, look at litert-lm-api's version (pip install 'mtp-export[engine]').",
)
ENGINE = Title(
    "engine",
    "The stock engine gives the reference runtime's text",
    "Look at litert-lm-api's version (pip install 'mtp-export[engine]') and run generate --mtp both: if the "
    "engine differs from itself, it is the engine's; if only from the reference runtime, report it here.",
)
ONNX = Title(
    "onnx",
    "ONNX Runtime gives LiteRT's numbers and tokens",
    "Make the folder again with export --format onnx and the options of the bundle, and look at "
    "onnxruntime's version (pip install 'mtp-export[onnx]').",
)
ACCEPTANCE = Title(
    "acceptance",
    "Accepted drafts, by position in the round",
    "Give export the drafter that belongs to this target; one that was trained for another is hardly ever "
    "right, and then --no-drafter is faster.",
)

ORDER = (
    CHECKSUMS,
    CONTRACT,
    WEIGHTS,
    MODEL,
    GRAPHS,
    SHAPES,
    QUANTISATION,
    DRAFTER,
    LOOP,
    CONVERSATIONS,
    ENGINE,
    ONNX,
    ACCEPTANCE,
)

NEED_TARGET = (WEIGHTS, MODEL, GRAPHS, QUANTISATION, DRAFTER)
"""Rungs that compare with the checkpoints."""

NEED_TRANSFORMERS = (MODEL, DRAFTER)
"""Those of them that ask transformers."""

NO_TARGET = "no --target given; with --target CHECKPOINT (and --drafter CHECKPOINT) it runs"
