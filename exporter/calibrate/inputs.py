"""What reaches a module's matrices: ``X^T X`` of their inputs, summed over a text."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn

from quantize.gptq import InputStatistics

SAME_INPUT = {
    "self_attn.k_proj": "self_attn.q_proj",
    "self_attn.v_proj": "self_attn.q_proj",
    "mlp.up_proj": "mlp.gate_proj",
}
"""Matrices that read what another one reads: its statistics serve them too."""


class InputSums:
    """Sums of outer products ``[C, C]`` by matrix, without those of :data:`SAME_INPUT`.

    As a context manager it watches every matrix of a module while that runs.
    """

    def __init__(self, module: nn.Module | None = None) -> None:
        self._sums: dict[str, Tensor] = {}
        self._kept: tuple[str, InputStatistics] | None = None
        self._watched = {
            name: part
            for name, part in (module.named_modules() if module is not None else ())
            if isinstance(part, nn.Linear) and name not in SAME_INPUT
        }

    def __enter__(self) -> InputSums:
        def watch(name: str) -> torch.utils.hooks.RemovableHandle:
            def hook(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                self.add(name, inputs[0])

            return self._watched[name].register_forward_pre_hook(hook)

        self._handles = [watch(name) for name in self._watched]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def add(self, name: str, inputs: Tensor) -> None:
        """Add inputs ``[..., C]`` of a matrix."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        if name not in self._sums:
            self._sums[name] = torch.zeros(rows.shape[1], rows.shape[1])
        self._sums[name].addmm_(rows.T, rows)

    def total(self, name: str) -> Tensor:
        """``X^T X`` ``[C, C]`` of a matrix's inputs so far."""
        return self._sums[SAME_INPUT.get(name, name)]

    def statistics(self, name: str) -> InputStatistics:
        """What GPTQ needs; the last ones are kept, because matrices that share them are neighbours."""
        source = SAME_INPUT.get(name, name)
        if self._kept is None or self._kept[0] != source:
            self._kept = None  # so that it is gone before the next is made
            self._kept = source, InputStatistics.of(self.total(source).numpy())
        return self._kept[1]
