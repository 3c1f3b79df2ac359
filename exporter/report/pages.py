"""Pages and pictures made from the templates beside this module; what is put into them is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter.report.plots import Plot


@cache
def _templates() -> Environment:
    """Undefined names are errors; ``px`` writes pixels."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    found.filters["px"] = "{:.1f}".format
    return found


def render_template(name: str, values: Mapping[str, Any]) -> str:
    """A template with its values filled in."""
    return _templates().get_template(name).render(values)


def picture(plot: Plot) -> str:
    """A plot as an SVG file that needs nothing else."""
    return render_template("plot.svg.jinja", {"plot": plot})
