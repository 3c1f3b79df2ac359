"""The rungs' names, in the order they build on each other."""

from __future__ import annotations

from exporter.parity.rung import Title

CONTRACT = Title("contract", "The bundle keeps the engine's contract")
WEIGHTS = Title("weights", "Stored weights are the checkpoints' weights")
MODEL = Title("model", "Our torch model is transformers' model")
GRAPHS = Title("graphs", "LiteRT computes what our model computes")
SHAPES = Title("shapes", "decode, verify and prefill agree with each other")
QUANTISATION = Title("quantisation", "The bundle against the float model, on the given text")
DRAFTER = Title("drafter", "The drafter is transformers' assistant")
LOOP = Title("loop", "The speculative loop gives greedy decoding's tokens")
CONVERSATIONS = Title("conversations", "Prompts of every kind of conversation are the engine's")
ENGINE = Title("engine", "The stock engine gives the reference runtime's text")
ONNX = Title("onnx", "ONNX Runtime gives LiteRT's numbers and tokens")
ACCEPTANCE = Title("acceptance", "Accepted drafts, by position in the round")

ORDER = (
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
