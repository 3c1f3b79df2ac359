"""The tables of a LiteRT model, read from bytes that may be damaged or forged.

Knows which field of the schema is which number. Source: TensorFlow Lite's ``schema.fbs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from exporter.bundle.flatbuffer import Flatbuffer, Table, Tables

IDENTIFIER = b"TFL3"

TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}

FLOAT_BYTES = 4


@dataclass(frozen=True)
class ModelTables:
    """A model: its subgraphs, which own tensors and operators, and what they share."""

    table: Table

    @classmethod
    def of(cls, source: Flatbuffer) -> Self:
        """The model that a flatbuffer holds.

        Raises:
            BundleError: The flatbuffer is damaged; reading any of its parts may raise that, too.
        """
        return cls(source.root())

    @property
    def operator_codes(self) -> tuple[int, ...]:
        """The built-in operator that each of the model's codes stands for."""
        return tuple(int(code.number(3, "<i")) for code in self.table.tables(1))

    @property
    def subgraphs(self) -> Iterator[SubgraphTables]:
        return map(SubgraphTables, self.table.tables(2))

    def subgraph(self, index: int) -> SubgraphTables:
        return SubgraphTables(self.table.tables(2)[index])

    def buffer(self, index: int) -> BufferTable:
        return BufferTable(self.table.tables(4)[index])

    @property
    def buffers(self) -> Iterator[BufferTable]:
        return map(BufferTable, self.table.tables(4))

    @property
    def signatures(self) -> Iterator[SignatureTable]:
        return map(SignatureTable, self.table.tables(7))


@dataclass(frozen=True)
class SubgraphTables:
    """One subgraph."""

    table: Table

    @property
    def tensors(self) -> Iterator[TensorTable]:
        return map(TensorTable, self.table.tables(0))

    def tensor(self, index: int) -> TensorTable:
        return TensorTable(self.table.tables(0)[index])

    @property
    def operators(self) -> Tables:
        """Of each, field 0 is the index of its code, field 1 its inputs."""
        return self.table.tables(3)


@dataclass(frozen=True)
class TensorTable:
    """One tensor."""

    table: Table

    @property
    def name(self) -> str:
        return self.table.text(3)

    @property
    def dtype(self) -> str:
        """LiteRT's name of the type of its elements."""
        code = int(self.table.number(1, "<b"))
        if code not in TYPE_NAMES:
            raise self.table.source.damaged(f"a tensor's type is {code}")
        return TYPE_NAMES[code]

    @property
    def shape(self) -> tuple[int, ...]:
        """With -1 for a dimension that is chosen at load."""
        return self.table.numbers(7, "i") or self.table.numbers(0, "i")

    @property
    def sizes(self) -> NDArray[Any]:
        """Its shape as it is stored, as a view."""
        return self.table.array(0, "<i4", counted=True)

    @property
    def buffer(self) -> int:
        return int(self.table.number(2, "<I"))

    @property
    def quantization(self) -> QuantizationTable | None:
        found = self.table.table(4)
        return None if found is None else QuantizationTable(found)


@dataclass(frozen=True)
class QuantizationTable:
    """How the elements of a tensor are to be understood."""

    table: Table

    @property
    def scale_count(self) -> int:
        return self.table.length(2, FLOAT_BYTES)

    @property
    def scales(self) -> NDArray[Any]:
        return self.table.array(2, "<f4")

    @property
    def blocks(self) -> Table | None:
        """Of scales of blocks: field 0 is the tensor that has them, field 2 the size of a block."""
        kind = schema.QuantizationDetails.BlockwiseQuantization
        return self.table.table(5) if self.table.number(4, "<B") == kind else None


@dataclass(frozen=True)
class BufferTable:
    """Bytes, within the flatbuffer or behind it."""

    table: Table

    @property
    def behind(self) -> bool:
        return self.offset > 1

    @property
    def offset(self) -> int:
        return int(self.table.number(1, "<Q"))

    @property
    def nbytes(self) -> int:
        return int(self.table.number(2, "<Q")) if self.behind else self.table.length(0, 1)

    @property
    def data(self) -> NDArray[Any]:
        """What is within the flatbuffer."""
        return self.table.array(0, "u1")


@dataclass(frozen=True)
class SignatureTable:
    """A subgraph's inputs and outputs by name."""

    table: Table

    @property
    def name(self) -> str:
        return self.table.text(2)

    @property
    def subgraph(self) -> int:
        return int(self.table.number(4, "<I"))

    @property
    def inputs(self) -> Iterator[tuple[str, int]]:
        """Names, and indices of tensors."""
        return map(_named, self.table.tables(0))

    @property
    def outputs(self) -> Iterator[tuple[str, int]]:
        return map(_named, self.table.tables(1))


def _named(entry: Table) -> tuple[str, int]:
    return entry.text(0), int(entry.number(1, "<I"))
