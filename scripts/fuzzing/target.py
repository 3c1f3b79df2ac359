"""What is fuzzed: a reader, and sound contents for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from exporter.errors import MtpExportError
from fuzzing.mutation import mutated


class UnwrittenError(Exception):
    """An error of ours whose message cannot be shown."""


@dataclass(frozen=True)
class Case:
    """One input: the name of the file or section that is replaced, and what it holds."""

    part: str
    content: bytes


@dataclass(frozen=True)
class Target:
    """A reader of files."""

    name: str
    parts: Mapping[str, bytes]
    """Sound contents of what is read, by name; a case replaces one of them."""
    read: Callable[[Case], None]
    """Reads everything, with the part of the case replaced; raises errors of ours and no others."""
    seconds: float = 10.0
    """That one input may take, on a machine that has other things to do."""
    memory: int = 1 << 30
    """Bytes of address space that reading may need beyond what the process has."""
    bounded: bool = False
    """Whether the command runs this in a process with bounds: running out of time or memory is then no
    finding."""

    def case(self, seed: int, index: int) -> Case:
        """The input of a number; of the same seed it is the same."""
        source = Random(f"{seed} {self.name} {index}")  # noqa: S311  to be made again
        part = source.choice(list(self.parts))
        return Case(part, mutated(part, self.parts[part], source))


class UnsoundError(Exception):
    """A content that should be read is refused: then inputs made from it show nothing."""


def check_sound(target: Target) -> None:
    """Check that every sound content is read. What readers remember of these, they know from then on.

    Raises:
        UnsoundError: One is refused.
    """
    for part, content in target.parts.items():
        if (found := outcome(target, Case(part, content))) != "read":
            raise UnsoundError(f"{target.name}: {part}: {found}")


def outcome(target: Target, case: Case) -> str:
    """``read``, or the kind of error of ours that refused the input.

    Raises:
        UnwrittenError: The error's message cannot be printed.
        Exception: Whatever else the reader raised: a finding.
    """
    try:
        target.read(case)
    except MtpExportError as error:
        try:
            str(error).encode()
        except UnicodeEncodeError as unwritten:
            raise UnwrittenError(ascii(error)) from unwritten
        return type(error).__name__
    return "read"
