"""Tables: rows of text under a header. Pages draw them, too, by ``parts.jinja``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows under a header, which may be empty. The first ``words`` columns are words, the others numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1
    outside: tuple[int, ...] = ()
    """Rows that a page shows as outside their tolerance."""

    def aligned(self) -> list[str]:
        """Lines for a terminal: words to the left, numbers to the right."""
        every = [self.header, *self.rows] if self.header else self.rows
        widths = [max(map(len, column)) for column in zip(*every, strict=True)]
        return [
            "  ".join(
                cell.rjust(width) if index >= self.words else cell.ljust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in every
        ]

    def markdown(self) -> list[str]:
        """Lines of Markdown, with the columns to the same sides."""
        sides = ("---" if index < self.words else "---:" for index in range(len(self.header)))
        return [
            f"| {' | '.join(self.header)} |",
            f"|{'|'.join(sides)}|",
            *(f"| {' | '.join(row)} |" for row in self.rows),
        ]
