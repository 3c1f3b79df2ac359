"""What ``export --dry-run`` tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.checkpoints.checkpoint import Checkpoint
from exporter.checkpoints.hub import WANTED_FILES, HubError, cache_folder, list_files
from exporter.checkpoints.named_target import NamedTarget
from exporter.checkpoints.pair import DRAFTER, TARGET, Pair
from exporter.checkpoints.source_folder import SourceFolder
from exporter.checkpoints.tensors.tensor_reader import TensorReader
from exporter.cli.export_inference import Chosen
from exporter.cli.size import shown_size
from exporter.errors import OutputError
from exporter.files.output import check_free_space
from exporter.options import ExportOptions
from exporter.plan.export_plan import make_plan
from exporter.plan.forecast import (
    Forecast,
    SourceFile,
    forecast_of_configs,
    forecast_of_plan,
    free_bytes,
)
from exporter.progress import Reporter

OpenPair = Callable[[], tuple[Checkpoint, Checkpoint | None]]


def look_ahead(
    chosen: Chosen, options: ExportOptions, open_pair: OpenPair, reporter: Reporter
) -> Forecast:
    """What the export would read, make and need.

    Args:
        chosen: Its checkpoints and its output.
        options: Others.
        open_pair: Opens the checkpoints; called if all their files are here.
        reporter: Told what was put right, left out and chosen.

    Raises:
        MtpExportError: One of its subclasses: the export could not be made.
    """
    files = [file for role, named in _roles(chosen).items() for file in _files(role, named)]
    if all(file.here for file in files):
        with TensorReader() as reader:
            pair = Pair.of(*open_pair())
            return forecast_of_plan(make_plan(pair, chosen.output, options, reader, reporter))
    drafter = chosen.named_drafter
    configs = chosen.named.config(), None if drafter is None else drafter.config()
    return forecast_of_configs(*configs, chosen.named.target.source, options, files)


def _roles(chosen: Chosen) -> dict[str, NamedTarget]:
    drafter = chosen.named_drafter
    return {TARGET: chosen.named, **({} if drafter is None else {DRAFTER: drafter})}


def _files(role: str, named: NamedTarget) -> Iterator[SourceFile]:
    for found in (named.target, named.adapter):
        if found is not None:
            yield from _files_of(role, found)


def _files_of(role: str, found: SourceFolder) -> Iterator[SourceFile]:
    """What the hub has, or is here where it cannot be asked; what a folder has."""
    if found.revision is not None:
        try:
            for file in list_files(found.source, found.revision):
                yield SourceFile(role, file.name, file.nbytes, file.here)
            return
        except HubError:
            pass
    for path in sorted(path for pattern in WANTED_FILES for path in found.folder.glob(pattern)):
        yield SourceFile(role, path.name, path.stat().st_size, here=True)


def require_room(found: Forecast, output: Path) -> None:
    """Check that the disks have what the export would take.

    Raises:
        OutputError: They have not.
    """
    check_free_space(output, found.disk_bytes)
    if not found.missing_bytes:  # and the library that knows the cache may not be installed
        return
    if found.missing_bytes > (free := free_bytes(cache_folder())):
        raise OutputError(
            f"{cache_folder()}: {shown_size(found.missing_bytes)} are to be downloaded, and the disk has "
            f"{shown_size(free)} free; make room, or set HF_HOME to a folder on another disk"
        )


def render(found: Forecast, chosen: Chosen, options: ExportOptions) -> str:
    """The forecast, for people."""
    made = (
        f"{chosen.output}: {shown_size(found.nbytes)}, give or take {shown_size(found.error_bytes)}"
    )
    width = max(map(len, found.sections))
    return "\n".join(
        [
            *_read(found, chosen),
            f"would make {made}, stored as {options.recipe.name}",
            *(f"  {name:{width}}  {shown_size(n):>9}" for name, n in found.sections.items()),
            *_needs(found, chosen.output),
            "nothing was written",
        ]
    )


def _read(found: Forecast, chosen: Chosen) -> Iterator[str]:
    for role, named in _roles(chosen).items():
        files = [file for file in found.files if file.role == role]
        size = shown_size(sum(file.nbytes for file in files))
        missing = [file for file in files if not file.here]
        fetched = f", of which {len(missing)} to be downloaded" if missing else ""
        yield f"would read the {role}, {named.place}: {len(files)} files, {size}{fetched}"
    if found.missing_bytes:
        folder = cache_folder()
        yield (
            f"would download {shown_size(found.missing_bytes)} into {folder}, where "
            f"{shown_size(free_bytes(folder))} are free"
        )


def _needs(found: Forecast, output: Path) -> Iterator[str]:
    read = shown_size(sum(file.nbytes for file in found.files))
    written = shown_size(2 * found.nbytes)
    if found.seconds is None:
        yield "time: not foretold; a text goes through the models first, layer by layer"
    else:
        yield (
            f"time: about {max(1, round(found.seconds))} s to store the weights, measured here on "
            f"{shown_size(found.measured_bytes)} of them, and what the disk takes to read {read} and write "
            f"{written}"
        )
    if found.memory_bytes is None:
        yield "memory: not foretold; a text goes through the models first, layer by layer"
    else:
        yield f"memory: up to {shown_size(found.memory_bytes)}, by what E2B and E4B took"
    if found.graphs_known is None:
        yield "graphs: looked for when all is downloaded; those not known take a minute or two to lower"
    elif not found.graphs_known:
        yield "graphs: not known yet; lowering them takes a minute or two (E2B: 75 s on two cores)"
    free = free_bytes(output.absolute().parent)
    yield (
        f"disk: up to {shown_size(found.disk_bytes)} while it runs, {shown_size(found.nbytes)} then; "
        f"{shown_size(free)} are free"
    )
