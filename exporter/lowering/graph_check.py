"""Whether what is kept as the graph of a signature is one."""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from exporter.bundle.graph_reader import GraphReader
from exporter.lowering.units import Unit


def is_litert_graph(unit: Unit, graph: bytes) -> bool:
    """Whether the bytes are a LiteRT model that can be read to its last table, of one signature of this name.

    What it computes is not looked at.
    """
    try:
        reader = GraphReader(graph, unit.file_name)
        reader.constants()
        schema.ModelT.InitFromObj(schema.Model.GetRootAs(graph, 0))
        return list(reader.signatures()) == [unit.signature]
    except Exception:  # the generated reader checks nothing and raises whatever it hits
        return False
