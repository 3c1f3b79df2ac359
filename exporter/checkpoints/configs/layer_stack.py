"""The decoder stack that a ``text_config`` describes.

What a config leaves out is filled as transformers' ``Gemma4TextConfig`` fills it, alike from 5.5 to 5.24.
Only the sizes (width, layers, MLP) must be there: transformers' defaults for them are no published model's.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.checkpoints.architecture import AttentionKind, Layer, Rope, TextConfig
from exporter.checkpoints.configs.config_reader import ConfigReader, is_number
from exporter.checkpoints.configs.head_shapes import head_shapes

DEFAULT_FULL_EVERY = 6
DEFAULT_ROPE = {
    AttentionKind.SLIDING: Rope(10_000.0, 1.0),
    AttentionKind.FULL: Rope(1_000_000.0, 0.25),
}
ACTIVATION = "gelu_pytorch_tanh"


def parse_stack(reader: ConfigReader, layer_count: int, owner_count: int) -> TextConfig:
    """Read what target and drafter have in common.

    Args:
        reader: Of the text model's object.
        layer_count: Layers; 0 if the config's number was refused.
        owner_count: How many of them, from the first on, have keys and values of their own.
    """
    reader.forbid("attention_bias", "attention biases are not exported")
    if reader.config.get("use_bidirectional_attention") not in (None, "vision"):
        reader.refuse("use_bidirectional_attention", "null or 'vision' (text is causal)")
    if reader.config.get("hidden_activation", ACTIVATION) != ACTIVATION:
        reader.refuse("hidden_activation", ACTIVATION)
    kinds = _layer_kinds(reader, layer_count) if layer_count else []
    heads = reader.integer("num_attention_heads", default=8)
    return TextConfig(
        hidden_size=reader.integer("hidden_size"),
        heads=heads,
        vocab_size=reader.integer("vocab_size", default=262_144),
        sliding_window=reader.integer("sliding_window", default=512),
        rms_norm_eps=reader.number("rms_norm_eps", default=1e-6),
        rope=_ropes(reader),
        layers=_layers(reader, kinds, owner_count, heads),
    )


def _layer_kinds(reader: ConfigReader, layer_count: int) -> list[AttentionKind]:
    """The kind of each layer; the last one has full attention, whatever the config says."""
    names = reader.config.get("layer_types")
    if names is None:
        every = DEFAULT_FULL_EVERY
        kinds = [
            AttentionKind.SLIDING if (index + 1) % every else AttentionKind.FULL
            for index in range(layer_count)
        ]
        return [*kinds[:-1], AttentionKind.FULL]
    if not isinstance(names, list) or len(names) != layer_count:
        found = f"{len(names)} entries" if isinstance(names, list) else repr(names)
        reader.problem(
            f"layer_types: expected one entry for each of {layer_count} layers, found {found}"
        )
        return []
    known = {kind.value for kind in AttentionKind}
    if unknown := sorted({str(name) for name in names} - known):
        reader.problem(
            f"layer_types: expected {' or '.join(sorted(known))}, found {', '.join(unknown)}"
        )
        return []
    return [*map(AttentionKind, names[:-1]), AttentionKind.FULL]


def _layers(
    reader: ConfigReader, kinds: Sequence[AttentionKind], owner_count: int, heads: int
) -> tuple[Layer, ...]:
    """Lay out the stack: KV-sharing layers read the last owner of their own kind."""
    width = reader.integer("intermediate_size")
    shared_width = 2 * width if reader.flag("use_double_wide_mlp") else width
    if not kinds:
        return ()
    if AttentionKind.SLIDING not in kinds:
        reader.problem("layer_types: expected layers of both kinds, found only full_attention")
    shapes = head_shapes(reader, kinds)
    for kind, shape in shapes.items():
        if shape.kv_heads and heads % shape.kv_heads:
            reader.problem(
                f"{kind.value} layers: {shape.kv_heads} kv heads do not divide {heads} heads"
            )
    donors = {kind: index for index, kind in enumerate(kinds[:owner_count])}
    if missing := sorted({kind.value for kind in kinds[owner_count:] if kind not in donors}):
        reader.problem(
            f"num_kv_shared_layers: layers of type {', '.join(missing)} share KV, but no earlier "
            "layer of that type owns any"
        )
        return ()
    return tuple(
        Layer(
            index,
            kind,
            index if index < owner_count else donors[kind],
            shapes[kind].head_dim,
            shapes[kind].kv_heads,
            width if index < owner_count else shared_width,
        )
        for index, kind in enumerate(kinds)
    )


def _ropes(reader: ConfigReader) -> dict[AttentionKind, Rope]:
    if reader.config.get("rope_scaling") is not None:
        reader.refuse("rope_scaling", "rope_parameters instead")
    if reader.config.get("rope_parameters") is None:
        return dict(DEFAULT_ROPE)
    of_kinds = reader.part("rope_parameters")
    if of_kinds is None:
        return {}
    parts = {kind: of_kinds.part(kind.value) for kind in AttentionKind}
    return {kind: _rope(part) for kind, part in parts.items() if part is not None}


def _rope(reader: ConfigReader) -> Rope:
    theta = reader.number("rope_theta")
    rope_type = reader.config.get("rope_type", reader.config.get("type", "default"))
    if rope_type == "default":
        return Rope(theta, 1.0)
    factor = reader.config.get("factor", 1.0)
    if rope_type != "proportional" or not is_number(factor) or factor != 1:
        reader.problem(
            f"{reader.path.rstrip('.')}: expected rope_type default or proportional without a scaling "
            f"factor, found {dict(reader.config)!r}"
        )
    fraction = reader.config.get("partial_rotary_factor", 1.0)
    if not is_number(fraction) or not 0 < fraction <= 1:
        reader.refuse("partial_rotary_factor", "a number above 0 and up to 1")
        return Rope(theta, 1.0)
    return Rope(theta, float(fraction))
