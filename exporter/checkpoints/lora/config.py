"""What an adapter's ``adapter_config.json`` says, as frozen values.

Only what PEFT's LoRA can merge exactly into a weight is accepted; everything else that would change
the result is an error, and all of it is reported at once.

Source: PEFT 0.21 ``tuners/lora/config.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.configs.config_reader import LARGEST, is_number
from exporter.checkpoints.patterns import NO_PATTERN, in_time
from exporter.errors import CheckpointError, listed

UNSUPPORTED = {
    "alora_invocation_tokens": "it acts only after certain tokens, so it cannot be merged",
    "arrow_config": "it chooses among adapters for every token, so it cannot be merged",
    "kasa_config": "it also cuts singular values off the base weights",
    "layer_replication": "it repeats layers of the base model",
    "lora_bias": "it adds biases, which this model has no place for",
    "monteclora_config": "it samples its weights",
    "target_parameters": "it changes parameters that are not linear layers or embeddings",
    "use_bdlora": "its factors are block-diagonal",
    "use_qalora": "it pools its inputs, so it cannot be merged exactly",
    "velora_config": "it compresses its inputs",
}
"""Options whose mere presence makes another kind of adapter."""

HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "exclude_modules",
    "fan_in_fan_out", "inference_mode", "layers_pattern", "layers_to_transform", "loftq_config",
    "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core", "peft_type", "peft_version",
    "qalora_group_size", "revision", "runtime_config", "target_modules", "task_type",
}  # fmt: skip
"""Options that say how training went or what it was of: the tensors say what came of it."""

READ = {
    "alpha_pattern", "bias", "ensure_weight_tying", "init_lora_weights", "lora_alpha", "modules_to_save",
    "r", "rank_pattern", "trainable_token_indices", "use_dora", "use_rslora",
}  # fmt: skip
"""Options that decide how tensors are merged, or whether they can be."""

TIED = ("embed_tokens", "lm_head")
"""What PEFT takes for an embedding and its head, by the ends of their names."""

CHANGES_BASE = ("pissa", "corda", "olora", "loftq", "lora_ga")
"""Values of ``init_lora_weights`` (or their beginning) with which training began by changing the base
weights: such an adapter fits those changed weights and no published checkpoint."""


@dataclass(frozen=True)
class AdapterConfig:
    """The numbers that decide how factors become a change."""

    rank: int
    alpha: float
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    root_scaling: bool
    """Rank-stabilised LoRA: alpha by the root of the rank."""
    dora: bool
    saved_modules: tuple[str, ...]
    """Modules stored whole instead of as factors, by the end of their name."""
    ties_embeddings: bool
    """A change of the embedding is one of the head that is tied to it, too."""
    tokens: Mapping[str, tuple[int, ...]]
    """Tokens whose rows were trained alone, by the end of their table's name."""
    unknown: tuple[str, ...] = ()
    """Options that are set and that this exporter does not know."""

    def rank_of(self, module: str) -> int:
        """The rank that the configuration gives a module."""
        return int(_by_pattern(self.rank_pattern, module, self.rank))

    def scaling(self, module: str) -> float:
        """The factor of a module's change."""
        alpha, rank = _by_pattern(self.alpha_pattern, module, self.alpha), self.rank_of(module)
        return alpha / math.sqrt(rank) if self.root_scaling else alpha / rank

    def saves(self, module: str) -> bool:
        """Whether ``module`` is stored whole, in place of the base model's."""
        return any(_ends_with(module, name) for name in self.saved_modules)

    def tokens_of(self, module: str) -> tuple[int, ...]:
        """The tokens whose rows of ``module`` were trained alone."""
        return next((ids for name, ids in self.tokens.items() if _ends_with(module, name)), ())


def parse_adapter_config(config: Mapping[str, Any], where: str) -> AdapterConfig:
    """Parse an ``adapter_config.json``.

    Raises:
        CheckpointError: Listing everything that this exporter cannot merge.
    """
    if (kind := config.get("peft_type")) != "LORA":
        raise CheckpointError(f"{where}: expected a LoRA adapter (peft_type LORA), found {kind!r}")
    problems = [f"{key} is set: {why}" for key, why in UNSUPPORTED.items() if config.get(key)]
    start = config.get("init_lora_weights", True)
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        problems.append(
            f"init_lora_weights is {start!r}: the adapter fits base weights that its training changed; "
            "save it again with path_initial_model_for_weight_conversion"
        )
    if (bias := config.get("bias", "none")) != "none":
        problems.append(
            f"bias is {bias!r}: trained biases are not exported; train with bias='none'"
        )
    if not _is_rank(config.get("r")):
        problems.append(f"r: expected a positive whole number, found {config.get('r')!r}")
    if not _positive(config.get("lora_alpha")):
        found = config.get("lora_alpha")
        problems.append(f"lora_alpha: expected a positive number, found {found!r}")
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(name, str) for name in saved):
        problems.append(f"modules_to_save: expected a list of names, found {saved!r}")
    for key in ("rank_pattern", "alpha_pattern"):
        problems += _pattern_problems(key, config.get(key) or {})
    tokens = _tokens(config.get("trainable_token_indices") or {})
    problems += _token_problems(tokens)
    if problems:
        raise CheckpointError(f"{where}: {listed(problems)}")
    return AdapterConfig(
        rank=int(config["r"]),
        alpha=float(config["lora_alpha"]),
        rank_pattern=config.get("rank_pattern") or {},
        alpha_pattern=config.get("alpha_pattern") or {},
        root_scaling=bool(config.get("use_rslora", False)),
        dora=bool(config.get("use_dora", False)),
        saved_modules=tuple(saved),
        ties_embeddings=_ties_embeddings(config, saved, where),
        tokens={name: tuple(ids) for name, ids in tokens.items()},
        unknown=tuple(
            sorted(
                key for key in config.keys() - HARMLESS - READ - UNSUPPORTED.keys() if config[key]
            )
        ),
    )


def _ties_embeddings(config: Mapping[str, Any], saved: Sequence[str], where: str) -> bool:
    """Whether PEFT ties the adapters of head and embedding as it was asked to.

    A ``target_modules`` that is a regular expression is compared with their bare names, so one with the names
    of the modules around them ties nothing; PEFT warns of that.
    Source: PEFT 0.21 ``BaseTuner._check_tied_modules``.

    Raises:
        CheckpointError: Matching does not end, or there is nothing to match.
    """
    if not config.get("ensure_weight_tying", False):
        return False
    targets = config.get("target_modules") or ()
    if isinstance(targets, str):
        return _names_tied(saved) or in_time(
            "target_modules", where, targets, _matches_tied, targets
        )
    if not isinstance(targets, Sequence):
        raise CheckpointError(
            f"{where}: target_modules: expected names or a regular expression, found {targets!r}"
        )
    return _names_tied((*map(str, targets), *saved))


def _matches_tied(pattern: str) -> bool:
    with suppress(*NO_PATTERN):  # it matches nothing
        return any(re.fullmatch(pattern, name) for name in TIED)
    return False


def _names_tied(modules: Iterable[str]) -> bool:
    return any(module.rsplit(".", 1)[-1] in TIED for module in modules)


def _ends_with(module: str, name: str) -> bool:
    """Whether PEFT takes a module to be the one of this name."""
    return module == name or module.endswith(f".{name}")


def _tokens(value: Any) -> Mapping[str, Any]:
    """Token ids by table; a list alone is of the embedding."""
    return value if isinstance(value, Mapping) else {"embed_tokens": value}


def _token_problems(tokens: Mapping[str, Any]) -> list[str]:
    problems = []
    for name, ids in tokens.items():
        if not isinstance(ids, list) or not all(type(i) is int and i >= 0 for i in ids):
            problems.append(f"trainable_token_indices.{name}: expected token ids, found {ids!r}")
        elif len(set(ids)) < len(ids):
            problems.append(f"trainable_token_indices.{name}: a token is listed twice: {ids!r}")
    return problems


def check_patterns(config: AdapterConfig, modules: Iterable[str], where: str) -> None:
    """Match every pattern with every module, in a process that can be given up.

    What ends there ends here, too: the same patterns meet the same names.

    Raises:
        CheckpointError: It does not end.
    """
    patterns = tuple({**config.rank_pattern, **config.alpha_pattern})
    what = "rank_pattern and alpha_pattern"
    in_time(what, where, "".join(patterns), _match_all, patterns, tuple(modules))


def _match_all(patterns: Sequence[str], modules: Sequence[str]) -> None:
    for module in modules:
        for pattern in patterns:
            _by_pattern({pattern: 0.0}, module, 0.0)


def _by_pattern(patterns: Mapping[str, float], module: str, default: float) -> float:
    """The value of the first pattern that matches the end of a module's name, as PEFT matches it."""
    for pattern, value in patterns.items():
        if re.match(_within_name(pattern), module):
            return value
    return default


def _within_name(pattern: str) -> str:
    return rf"(.*\.)?({pattern})$"


def _pattern_problems(key: str, patterns: Any) -> list[str]:
    if not isinstance(patterns, Mapping):
        return [f"{key}: expected an object of patterns, found {patterns!r}"]
    problems = []
    for pattern, value in patterns.items():
        try:
            re.compile(_within_name(pattern))
        except NO_PATTERN as error:
            problems.append(f"{key}: {pattern!r} is not a regular expression ({error})")
        if key == "rank_pattern" and not _is_rank(value):
            problems.append(f"{key}.{pattern}: expected a positive whole number, found {value!r}")
        elif not _positive(value):
            problems.append(f"{key}.{pattern}: expected a positive number, found {value!r}")
    return problems


def _is_rank(value: object) -> bool:
    return type(value) is int and 0 < value <= LARGEST


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and is_number(value) and value > 0
