"""What attention over caches costs by itself: a few layers of E2B's shape that read one cache, lowered here.

    python scripts/measure_attention.py chosen --tokens 1 --slots 4096 --filled 500 --filled 4000
    python scripts/measure_attention.py pieces sliding --slots 4096 --piece 1024 --piece 256
    python scripts/measure_attention.py pieces full --slots 32000 --piece 32

CPU time of a call, one thread; sides take turns (``speed.clocks``). `chosen` compares plain full attention
with one that chooses among lengths, `pieces` how many tokens of a prefill of 1024 attend at once. With one
piece it also says by how much the peak of resident memory grows in the first call.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import litert_torch
import numpy as np
import torch
from speed.clocks import alternate, load
from speed.litert import LitertFile, PreparedCall
from torch import Tensor, nn

from exporter.contract.names import Dtype
from exporter.lowering.choices import with_choices
from exporter.model.text.filled import lengths_below, of_filled
from exporter.model.text.kv import Kv, View
from exporter.model.text.kv_int8 import Int8Kv, Scales
from exporter.model.text.layers import Rotation
from exporter.model.text.pieces import PiecesView, view_prefilled
from runtime_py.litert.hardware import cpu_options
from runtime_py.litert.resized_graph import Resizing

PLACEHOLDER, HEADS, WINDOW, PREFILL = 131101, 8, 512, 1024
WIDTH = {"full": 512, "sliding": 256}

Looking = Callable[[Kv, Tensor, Tensor], View]
"""What tokens see of caches, by mask and positions."""


class Layers(nn.Module):
    """Layers of attention alone, one behind the other, over one cache."""

    def __init__(self, count: int, look: Looking) -> None:
        super().__init__()
        self.count, self.look = count, look

    def forward(
        self, q: Tensor, mask: Tensor, pos: Tensor, k: Tensor, v: Tensor, scales: Tensor
    ) -> Tensor:
        """``q`` ``[1, T, N, D]``, ``mask`` bool ``[1, 1, T, S]``, ``pos`` int32 ``[T]``; as ``q``."""
        own = Scales(scales, scales)
        kv = Kv(k, v) if k.dtype is torch.float32 else Int8Kv(k, v, own)
        view = self.look(kv, mask, pos)
        seen = view.of(kv)
        for _ in range(self.count):
            attended = view.attend(q, seen).reshape(q.shape)
            q = attended * torch.rsqrt(attended.square().mean(-1, keepdim=True) + 1e-6) + q
        return q + 0 * (scales.sum() + pos.sum())  # so that all inputs stay


NO_ROTATION = Rotation(torch.zeros(1), torch.zeros(1))


def plain(kv: Kv, mask: Tensor, pos: Tensor) -> View:
    """Full attention over all slots."""
    return View.of_all(NO_ROTATION, mask)


def chosen(kv: Kv, mask: Tensor, pos: Tensor) -> View:
    """Full attention over as many slots as are filled, about."""
    return of_filled(kv, plain(kv, mask, pos), mask, lengths_below(PLACEHOLDER))


def full_pieces(size: int) -> Looking:
    """Full attention of so many tokens at once."""

    def look(kv: Kv, mask: Tensor, pos: Tensor) -> View:
        views = tuple(plain(kv, some, pos) for some in mask.split(size, dim=2))  # type: ignore[no-untyped-call]
        return PiecesView(NO_ROTATION, mask, None, 0, views, size)

    return look


def sliding_pieces(size: int) -> Looking:
    """Sliding attention of so many tokens at once."""
    return lambda kv, mask, pos: view_prefilled(kv, size, NO_ROTATION, mask, pos, WINDOW)


def opened(layers: Layers, tokens: int, slots: int, width: int, dtype: Dtype) -> PreparedCall:
    """Lowered, and opened with so many slots."""
    cached = torch.int8 if dtype is Dtype.INT8 else torch.float32
    sample = {
        "q": torch.zeros(()).expand(1, tokens, HEADS, width),
        "mask": torch.zeros((), dtype=torch.bool).expand(1, 1, tokens, PLACEHOLDER),
        "pos": torch.zeros((), dtype=torch.int32).expand(tokens),
        "k": torch.zeros((), dtype=cached).expand(1, 1, PLACEHOLDER, width),
        "v": torch.zeros((), dtype=cached).expand(1, 1, width, PLACEHOLDER),
        "scales": torch.ones(()).expand(1, 1, 1, width),
    }
    converter = litert_torch.signature("main", layers.eval(), sample_kwargs=sample)
    graph = bytearray(with_choices(converter.convert().model_content()))
    Resizing(PLACEHOLDER, slots).apply(memoryview(graph))
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(graph)
        file.flush()
        return LitertFile(Path(file.name), cpu_options(threads=1)).call("main")


def fill(call: PreparedCall, filled: int) -> None:
    """Let the last token see so many slots, of noise."""
    noise, (tokens, slots) = np.random.default_rng(0), call.inputs["mask"].values.shape[2:]
    if not tokens <= filled <= slots:
        raise click.UsageError(f"{filled} of {slots} slots cannot be filled by {tokens} tokens")
    newest = np.arange(filled - tokens, filled)
    call.inputs["mask"].values[...] = np.arange(slots) <= newest[:, None]
    call.inputs["pos"].values[...] = newest
    for name in ("k", "v"):
        values = call.inputs[name].values
        numbers = noise.standard_normal(values.shape, np.float32)
        values[...] = (numbers * 30).clip(-127, 127) if values.dtype == np.int8 else numbers


def compare(sides: dict[str, PreparedCall], filled: Sequence[int], calls: int) -> None:
    """A line for each side, relative to the first."""
    for seen in filled:
        for call in sides.values():
            fill(call, seen)
        before, first = _peak(), next(iter(sides.values()))
        first()
        grown = f", peak +{_peak() - before} MB" if len(sides) == 1 else ""
        costs = alternate(sides, calls)
        base = next(iter(costs.values())).cpu
        for name, cost in costs.items():
            line = f"{name:>8} {seen:6} filled {cost.cpu * 1000:9.2f} ms {cost.cpu / base:6.3f}"
            click.echo(line + grown)
    click.echo(load())


def _peak() -> int:
    """Of resident memory, in MB."""
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return int(status.split()[0]) // 1000


@click.group()
def main() -> None:
    """Measure attention by itself."""


SLOTS = click.option("--slots", default=4096, show_default=True)
CALLS = click.option("--calls", type=click.IntRange(2), default=9, show_default=True)


@main.command("chosen")
@SLOTS
@CALLS
@click.option("--tokens", default=1, show_default=True)
@click.option("--layers", default=5, show_default=True)
@click.option("--filled", multiple=True, type=int, default=(500,), show_default=True)
@click.option("--kv-cache", type=click.Choice(["float32", "int8"]), default="float32")
def chosen_command(
    slots: int, calls: int, tokens: int, layers: int, filled: tuple[int, ...], kv_cache: str
) -> None:
    """Plain full attention, and the one that chooses."""
    shape = tokens, slots, WIDTH["full"], Dtype(kv_cache)
    sides = {look.__name__: opened(Layers(layers, look), *shape) for look in (plain, chosen)}
    compare(sides, filled, calls)


@main.command()
@click.argument("kind", type=click.Choice(["full", "sliding"]))
@SLOTS
@CALLS
@click.option("--piece", "sizes", multiple=True, type=int, default=(1024, 256), show_default=True)
def pieces(kind: str, slots: int, calls: int, sizes: tuple[int, ...]) -> None:
    """A layer's attention in a prefill, all tokens at once or some after the others."""
    look = full_pieces if kind == "full" else sliding_pieces
    shape = PREFILL, slots, WIDTH[kind], Dtype.FLOAT32
    sides = {str(size): opened(Layers(1, look(size)), *shape) for size in sizes}
    compare(sides, (slots,), calls)


if __name__ == "__main__":
    main()
