"""What can be wrong with a bundle that hears; :mod:`tests.faulty_towers` makes such bundles."""

from __future__ import annotations

import enum

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from exporter.contract.names import Section
from tests.faulty_towers import SectionFault, misscaled, next_row

SCALED = "layers.1.feed_forward2.ffw_layer_1.linear.weight"
OPERATOR = schema.BuiltinOperator


def hearing_padding(graph: bytes) -> bytes:
    """An encoder that multiplies nothing by its mask; the mask that comes out is as it was."""
    model = schema.ModelT.InitFromPackedBuf(graph, 0)
    (subgraph,) = model.subgraphs
    masks = {i for i in subgraph.inputs if subgraph.tensors[i].type == schema.TensorType.BOOL}
    unmasked = dict[int, int]()
    for operator in subgraph.operators:
        operator.inputs = [unmasked.get(i, i) for i in operator.inputs]
        if not masks & set(operator.inputs):
            continue
        if model.operatorCodes[operator.opcodeIndex].builtinCode == OPERATOR.MUL:
            (unmasked[operator.outputs[0]],) = set(operator.inputs) - masks
        else:
            masks |= set(operator.outputs)
    assert len(unmasked) == 2, "before each of the two convolutions"
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class SoundFault(enum.Enum):
    """What is wrong with a bundle that hears."""

    PADDING = SectionFault(Section.AUDIO_ENCODER, rewired=hearing_padding)
    """Padding is heard."""
    END = SectionFault(Section.END_OF_AUDIO, weights=next_row)
    """The end of a sound is another token's embedding."""
    SCALE = SectionFault(Section.AUDIO_ENCODER, weights=misscaled(SCALED))
    """One row of one weight has a wrong scale."""
