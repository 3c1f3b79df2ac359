"""How weights are packed: what each way of caching costs per call, to load, and in memory.

    python scripts/compare_weight_caches.py e2b-int4.litertlm --folder /tmp/caches

XNNPACK packs weights into its own order. Without a cache every signature packs them for itself; a
cache in memory packs them once; a cache in a file is packed once and mapped from then on. All ways run
in one process, one call of each in turn; memory and loading are measured in a process for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import click
from speed.clocks import Cost, alternate, load
from speed.litert import LitertFile

from exporter.bundle.reader import open_bundle
from exporter.contract.names import DECODE, VERIFY, Section
from runtime_py.litert.compiled_model import CompileOptions
from runtime_py.litert.hardware import IN_MEMORY, cpu_options

NONE, MEMORY, FILE = "none", "memory", "file"
WAYS = (NONE, MEMORY, FILE)


def options(way: str, folder: Path, threads: int) -> CompileOptions:
    """LiteRT's options for one way of caching."""
    path = {NONE: "", MEMORY: IN_MEMORY, FILE: str(folder / "packed.xnnpack_cache")}[way]
    return cpu_options(threads, path)


def open_target(bundle: Path, way: str, folder: Path, threads: int) -> LitertFile:
    """The target's section of a bundle."""
    found = open_bundle(bundle)
    return LitertFile.section(found, Section.PREFILL_DECODE, options(way, folder, threads))


def memory_kib() -> dict[str, int]:
    """Resident memory of this process: what the system can drop (files) and what it cannot."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) for name in ("RssAnon", "RssFile", "VmHWM")}


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--folder", type=click.Path(path_type=Path), required=True, help="Folder for cache files."
)
@click.option(
    "--ways",
    default=",".join(WAYS),
    show_default=True,
    help="Ways to compare, separated by commas.",
)
@click.option("--calls", default=24, show_default=True, help="Timed calls of each way.")
@click.option("--threads", default=1, show_default=True, help="CPU threads.")
@click.option("--child", hidden=True)
def main(
    bundle: Path, folder: Path, ways: str, calls: int, threads: int, child: str | None
) -> None:
    """Compare ways of caching packed weights on the target of BUNDLE."""
    folder.mkdir(parents=True, exist_ok=True)
    if child is not None:
        _report_loading(bundle, child, folder, threads)
        return
    wanted = ways.split(",")
    click.echo(f"{load()}, {threads} threads")
    for way in (*wanted, *(FILE,) * (FILE in wanted)):  # the file cold, then warm
        click.echo(_loading_of(bundle, folder, threads, way))
    with ExitStack() as stack:
        files = {
            way: stack.enter_context(closing(open_target(bundle, way, folder, threads)))
            for way in wanted
        }
        for signature in (DECODE, VERIFY):
            sides = {way: file.call(signature) for way, file in files.items()}
            _say(signature, alternate(sides, calls))


def _say(signature: str, costs: dict[str, Cost]) -> None:
    first = next(iter(costs.values())).cpu
    for way, cost in costs.items():
        spread = f"{cost.low * 1e3:.1f} to {cost.high * 1e3:.1f}"
        ratio = f"{cost.cpu / first:.3f}"
        click.echo(f"{signature:8} {way:8} {cost.cpu * 1e3:7.1f} ms CPU ({spread})  {ratio}")


def _report_loading(bundle: Path, way: str, folder: Path, threads: int) -> None:
    begun, cpu = time.perf_counter(), time.process_time()
    with closing(open_target(bundle, way, folder, threads)) as file:
        loaded = {"wall": time.perf_counter() - begun, "cpu": time.process_time() - cpu}
        for signature in (DECODE, VERIFY):
            file.call(signature)()
        click.echo(json.dumps(loaded | memory_kib()))


def _loading_of(bundle: Path, folder: Path, threads: int, way: str) -> str:
    command = [sys.executable, __file__, str(bundle), "--folder", str(folder), "--child", way]
    command += ["--threads", str(threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    mib = {name: found[name] // 1024 for name in ("RssAnon", "RssFile", "VmHWM")}
    return f"{way:8} opened in {found['wall']:.2f} s ({found['cpu']:.2f} s CPU), MiB {mib}"


if __name__ == "__main__":
    main()
