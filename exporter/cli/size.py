"""Sizes in bytes, as people write and read them."""

from __future__ import annotations

import re

import click

UNITS = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_size(text: str) -> int:
    """``2.4GB``, ``900 mb`` or a number of bytes."""
    if match := re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMG]B)?", text.strip().upper()):
        return int(float(match[1]) * UNITS[match[2] or ""])
    raise click.BadParameter(f"expected a size like 2.4GB or a number of bytes, found {text!r}")


def shown_size(nbytes: int) -> str:
    """``2.80 GB``, ``900 MB`` or, of what is small, ``4.44 MB``."""
    if nbytes >= 10**9:
        return f"{nbytes / 1e9:.2f} GB"
    return f"{nbytes / 1e6:.0f} MB" if nbytes >= 10**8 else f"{nbytes / 1e6:.2f} MB"
