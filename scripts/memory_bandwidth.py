"""How near a decode comes to the speed at which the machine reads memory.

    python scripts/memory_bandwidth.py e2b-int4.litertlm

A decode must read every stored byte of the target's layers and head once, and the caches it attends to.
The limit is measured in the same process, with a read of 1 GiB between two decodes: the largest of an
int64 array, by torch with the same number of threads (the fastest of the reads tried; a sum of floats
is slower). With one thread by CPU time, which holds on a busy machine as far as other jobs leave the
memory alone (they slow both sides); with more by the wall clock, which wants an idle machine.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import click
import torch
from speed.clocks import alternate, load
from speed.litert import LitertFile

from exporter.bundle.graph_reader import BITS
from exporter.bundle.reader import Bundle, open_bundle
from exporter.bundle.stored_contract import parsed_contract
from exporter.contract.names import DECODE, Section
from exporter.contract.text import Contract
from runtime_py.litert.hardware import cpu_options

STREAM_BYTES = 1 << 30


def weight_bytes(bundle: Bundle) -> int:
    """What is stored of the target's layers and head."""
    manifest = bundle.manifest()
    if manifest is None:
        raise click.ClickException(f"{bundle.path} has no manifest")
    weights = manifest["weights"][Section.PREFILL_DECODE.value]
    return sum(int(nbytes) for _, nbytes in weights.values())


def cache_bytes(agreed: Contract) -> int:
    """What a decode's attention reads: all slots on full layers, the window on sliding ones.

    Each owner counts once; that other layers read the same caches again is left out, so the limit is
    rather too strict than too lax.
    """
    slots = {True: min(agreed.sliding_window, agreed.cache_length), False: agreed.cache_length}
    element = BITS[agreed.kv_dtype.value] // 8
    return sum(
        2 * element * kv.kv_heads * kv.head_dim * slots[kv.sliding] for kv in agreed.kv_caches
    )


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True), metavar="BUNDLE")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--calls", default=30, show_default=True, help="Timed decodes and reads.")
def main(path: Path, threads: int, calls: int) -> None:
    """Compare a decode of BUNDLE with reading the bytes it needs."""
    torch.set_num_threads(threads)
    bundle = open_bundle(path)
    agreed = parsed_contract((bundle.manifest() or {})["contract"])
    weights, caches = weight_bytes(bundle), cache_bytes(agreed)
    stream = torch.ones(STREAM_BYTES // 8, dtype=torch.int64)

    def read_stream() -> None:
        stream.max()

    options = cpu_options(threads)
    with closing(LitertFile.section(bundle, Section.PREFILL_DECODE, options)) as target:
        costs = alternate({"decode": target.call(DECODE), "read": read_stream}, calls)
    decode, read = (
        cost.cpu if threads == 1 else cost.wall for cost in (costs["decode"], costs["read"])
    )
    bandwidth = STREAM_BYTES / read
    limit = (weights + caches) / bandwidth
    clock = "CPU time" if threads == 1 else "wall clock"
    click.echo(f"{threads} threads, {load()}; {clock}, medians of {calls} calls")
    click.echo(f"read: {bandwidth / 1e9:.1f} GB/s; weights {weights:,}, caches {caches:,} bytes")
    click.echo(f"decode: {decode * 1e3:.1f} ms, limit {limit * 1e3:.1f} ms")
    click.echo(f"limit / decode: {limit / decode:.2f}")


if __name__ == "__main__":
    main()
