"""A target and its drafter: two checkpoints that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.architecture import AttentionKind, DrafterConfig, TargetConfig
from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.configs.config import parse_drafter, parse_target
from exporter.errors import CheckpointError, MismatchError, listed

TARGET, DRAFTER = "target", "drafter"
"""What the manifest calls the two."""


@dataclass(frozen=True)
class Pair:
    """Two checkpoints that belong together, parsed; ``drafter`` is None for a bundle without one."""

    target: Checkpoint
    target_config: TargetConfig
    drafter: Checkpoint | None
    drafter_config: DrafterConfig | None

    @staticmethod
    def of(target: Checkpoint, drafter: Checkpoint | None) -> Pair:
        """Parse both configurations and check that they fit.

        Raises:
            ConfigError: One of them is not exportable.
            CheckpointError: The target's tables are for different numbers of tokens.
            MismatchError: They are of different sizes of Gemma.
        """
        target_config = parse_target(target.config, str(target.folder))
        _check_tables(target, target_config)
        if drafter is None:
            return Pair(target, target_config, None, None)
        drafter_config = parse_drafter(drafter.config, str(drafter.folder))
        check_pair(target_config, drafter_config)
        return Pair(target, target_config, drafter, drafter_config)

    def checkpoints(self) -> dict[str, Checkpoint]:
        """The pair's checkpoints by role, without a drafter that there is not."""
        both = {TARGET: self.target, DRAFTER: self.drafter}
        return {role: checkpoint for role, checkpoint in both.items() if checkpoint is not None}

    def notes(self) -> list[str]:
        """What a user should be told of them before they are exported, one sentence each."""
        notes = [note for checkpoint in self.checkpoints().values() for note in checkpoint.notes()]
        if taken := self.target.taken_from_adapter():
            notes.append(f"taken from the target's adapter: {', '.join(taken)}")
        if self.drafter_config is None:
            return notes
        notes += self._tuned_to()
        known, tokens = self.drafter_config.text.vocab_size, self.target_config.text.vocab_size
        if known < tokens:
            notes.append(
                f"the target has {tokens} tokens, {tokens - known} more than the drafter was trained with: "
                "those are never drafted, and come from the target alone"
            )
        return notes

    def _tuned_to(self) -> list[str]:
        """A warning if the drafter was tuned to another target, as far as names tell."""
        tuning = self.drafter.tuning() if self.drafter is not None else None
        theirs = tuned_to(tuning) if tuning else None
        if theirs is None:
            return []
        ours = [self.target.source]
        ours += [self.target.adapter.source] if self.target.adapter is not None else []
        if theirs == ours:
            return []
        return [
            f"warning: the drafter was tuned to {' + '.join(theirs)}, and the target is {' + '.join(ours)}: "
            "it foresees the former's answers"
        ]


def tuned_to(tuning: Mapping[str, Any]) -> list[str] | None:
    """The target that a drafter was tuned to, and its adapter, as its tuning.json names them."""
    told = tuning.get("target")
    if not isinstance(told, dict):
        return None
    adapter = told.get("adapter")
    of_adapter = [str(adapter.get("source"))] if isinstance(adapter, dict) else []
    return [str(told.get("source")), *of_adapter]


def _check_tables(target: Checkpoint, config: TargetConfig) -> None:
    """Check that every token has per-layer embeddings, too."""
    tokens, rows = config.text.vocab_size, config.per_layer_vocab_size
    if rows < tokens:
        raise CheckpointError(
            f"{target.folder}: expected a row of the per-layer embeddings for each of {tokens} tokens "
            f"(vocab_size), found {rows} (vocab_size_per_layer_input): tokens were added to one table only, "
            "and neither transformers nor a bundle can look them up; model.resize_token_embeddings adds them "
            "to both"
        )


def check_pair(target: TargetConfig, drafter: DrafterConfig) -> None:
    """Check that a drafter was made for a target of this shape.

    Raises:
        MismatchError: Listing every dimension that differs.
    """
    problems = []

    def same(what: str, of_drafter: object, of_target: object) -> None:
        if of_drafter != of_target:
            problems.append(f"{what}: the drafter has {of_drafter}, the target has {of_target}")

    same("hidden size of the target", drafter.backbone_hidden_size, target.text.hidden_size)
    if drafter.text.vocab_size > target.text.vocab_size:  # fewer: a fine-tune added tokens
        same("vocabulary size", drafter.text.vocab_size, target.text.vocab_size)
    same("sliding window", drafter.text.sliding_window, target.text.sliding_window)
    for kind in AttentionKind:
        reader = next((layer for layer in drafter.text.layers if layer.kind is kind), None)
        if reader is None:
            continue
        donor = target.kv_donor(kind)
        same(f"head dim of {kind.value} layers", reader.head_dim, donor.head_dim)
        same(f"kv heads of {kind.value} layers", reader.kv_heads, donor.kv_heads)
        same(f"rope of {kind.value} layers", drafter.text.rope[kind], target.text.rope[kind])
    if problems:
        raise MismatchError(
            "this drafter does not belong to this target (each size of Gemma 4 has its own "
            f"-assistant checkpoint): {listed(problems)}"
        )
