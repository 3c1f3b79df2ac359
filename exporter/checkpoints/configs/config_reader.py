"""Typed values out of one JSON object, and everything that is wrong with it.

A value that is refused is noted, and zero is returned in its place; :meth:`ConfigReader.finish` raises
before anyone uses it. Knows nothing about models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from exporter.errors import ConfigError, listed

ParsedT = TypeVar("ParsedT")

LARGEST = 2**31 - 1
"""A dimension of a tensor in LiteRT is a signed number of 32 bits."""

MOST_LAYERS = 1024
"""Ten times those of the largest models there are."""


OF_ANY_MODEL = frozenset(
    {
        "_attn_implementation_autoset", "_commit_hash", "_name_or_path", "architectures",
        "attn_implementation", "bos_token_id", "chunk_size_feed_forward", "dtype", "eos_token_id",
        "experts_implementation", "id2label", "initializer_range", "is_decoder", "is_encoder_decoder",
        "label2id", "output_attentions", "output_hidden_states", "pad_token_id", "problem_type",
        "quantization_config", "return_dict", "tie_word_embeddings", "tokenizer_class", "torch_dtype",
        "transformers_version", "use_cache",
    }
)  # fmt: skip
"""Keys that transformers and trainers write into the configuration of anything, and that say nothing of what
a part without tokens of its own computes."""


class ConfigReader:
    """Reads the keys of one object.

    A ``default`` stands for a key that is absent; a null is a value like others, and refused.

    Args:
        config: The object.
        where: Path or id of the checkpoint, for messages.
        problems: Collects what is wrong; shared with the readers of parts.
        path: Of the object within the file, put before its keys.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        where: str,
        problems: list[str] | None = None,
        path: str = "",
    ) -> None:
        self.config = config
        self.where = where
        self.problems: list[str] = [] if problems is None else problems
        self.path = path

    def problem(self, text: str) -> None:
        """Note a problem, once."""
        if text not in self.problems:
            self.problems.append(text)

    def refuse(self, key: str, expected: str) -> None:
        """Note that a key has another value than the ``expected`` kind."""
        found = repr(self.config[key]) if key in self.config else "nothing"
        self.problem(f"{self.path}{key}: expected {expected}, found {found}")

    def integer(
        self, key: str, *, default: int | None = None, minimum: int = 1, most: int = LARGEST
    ) -> int:
        """An integer of at least ``minimum`` and at most ``most``."""
        value = self.config.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.refuse(key, f"an integer of at least {minimum}")
            return 0
        if value > most:
            self.refuse(key, f"an integer of at most {most}")
            return 0
        return value

    def number(self, key: str, *, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.config.get(key, default)
        if not is_number(value) or value <= 0:
            self.refuse(key, "a positive number")
            return 0.0
        return float(value)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            self.refuse(key, "true or false")
        return value is True

    def forbid(self, key: str, why: str) -> None:
        """A flag that must not be set."""
        if self.flag(key):
            self.problem(f"{self.path}{key} is True: {why}")

    def part(self, key: str) -> ConfigReader | None:
        """The reader of an object within; None, and a problem, if there is none."""
        value = self.config.get(key)
        if not isinstance(value, Mapping):
            self.refuse(key, "an object")
            return None
        return ConfigReader(value, self.where, self.problems, f"{self.path}{key}.")

    def finish(self) -> None:
        """Raise if anything was wrong.

        Raises:
            ConfigError: Listing every problem.
        """
        if self.problems:
            raise ConfigError(f"{self.where}: {listed(self.problems)}")


def parse_part(
    config: Mapping[str, Any], where: str, key: str, parse: Callable[[ConfigReader], ParsedT]
) -> ParsedT | None:
    """What ``parse`` makes of an object within a ``config.json``; None where there is none.

    Args:
        config: The parsed JSON.
        where: Path or id shown in error messages.
        key: The object's.
        parse: Reads it; problems that it adds to the reader are raised together.

    Raises:
        ConfigError: Listing every problem.
    """
    if config.get(key) is None:
        return None
    outer = ConfigReader(config, where)
    reader = outer.part(key)
    parsed = None if reader is None else parse(reader)
    outer.finish()
    return parsed


def is_number(value: object) -> bool:
    """Whether a JSON value is a finite number; Python's JSON reads NaN and Infinity, too."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float comes near
        return False
