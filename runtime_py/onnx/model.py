"""An ONNX folder, opened: executor, tokenizer and chat template, ready for sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from exporter.bundle.onnx_folder import open_folder
from exporter.bundle.stored_contract import require_drafter, with_cache_length
from runtime_py.onnx.executor import OnnxExecutor
from runtime_py.opened_model import Opened, read_text_side


@contextmanager
def open_onnx_model(
    path: Path,
    threads: int | None = None,
    *,
    cache_length: int | None = None,
    drafting: bool = True,
    check_weights: bool = False,
) -> Iterator[Opened[OnnxExecutor]]:
    """Open a folder for the reference runtime.

    Args:
        path: A folder made by ``export --format onnx``.
        threads: None leaves the number to ONNX Runtime.
        cache_length: Slots of a cache; None for the folder's own choice.
        drafting: Whether anything is to be drafted; the folder must then have a drafter.
        check_weights: Compare the weights' checksums, too.

    Raises:
        BundleError: It is not such a folder, or damaged, or has no drafter.
    """
    folder = open_folder(path)
    folder.check_files(weights=check_weights)
    agreed = with_cache_length(path, folder.contract(), cache_length)
    if drafting:
        require_drafter(path, agreed)
    text_side = read_text_side(folder)
    with closing(OnnxExecutor(folder, agreed, threads, drafting=drafting)) as executor:
        yield Opened(executor, *text_side)
