"""The tokens that a bundle knows by number: start, stop, padding, and those that are never chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.checkpoints.assets.special_tokens import TOOL_RESPONSE_START, TURN_END
from exporter.checkpoints.assets.text_settings import TextSettings
from exporter.checkpoints.assets.tokenizer_file import TokenizerFile
from exporter.errors import CheckpointError, listed


@dataclass(frozen=True)
class TokenIds:
    """Ids below the model's number of rows; ``pad`` None: the checkpoint names none."""

    bos: int
    pad: int | None
    stops: tuple[int, ...]
    suppressed: tuple[int, ...]
    """Tokens that are never chosen (``suppress_tokens``)."""
    notes: tuple[str, ...]
    """What was put right."""


def read_token_ids(
    settings: TextSettings, tokenizer: TokenizerFile, special: Mapping[str, str], rows: int
) -> TokenIds:
    """Find the ids that a checkpoint's files state.

    The end of a turn and the start of a tool's response stop an answer whatever ``eos_token_id`` says: the
    engine has no other sign of either, and checkpoints saved from the text model alone name only the first
    end token.

    Args:
        settings: The files.
        tokenizer: Its tokens.
        special: Texts of the named special tokens.
        rows: How many tokens the model has embeddings for.

    Raises:
        CheckpointError: Listing ids that are missing or are none of the model's.
    """
    problems: list[str] = []
    bos = _named(settings, tokenizer, "bos_token", rows, problems)
    if bos is None and not problems:
        problems.append(
            "bos_token: expected one in tokenizer_config.json, or bos_token_id in "
            "generation_config.json, found neither"
        )
    pad = _named(settings, tokenizer, "pad_token", rows, problems)
    stated = _ids(settings, "eos_token_id", rows, problems)
    suppressed = _ids(settings, "suppress_tokens", rows, problems)
    ends = {
        tokenizer.added[special[n]]: special[n]
        for n in (TURN_END, TOOL_RESPONSE_START)
        if n in special
    }
    added = [index for index in ends if index not in stated]
    stops = (*stated, *added)
    if not stops and not problems:
        problems.append(
            "eos_token_id: expected it in generation_config.json or config.json, found none; without a "
            "stop token an answer never ends"
        )
    if stops and set(stops) <= set(suppressed):
        problems.append(f"suppress_tokens: they hold every stop token ({list(stops)})")
    if problems:
        raise CheckpointError(f"{settings.where}: {listed(problems)}")
    assert bos is not None
    return TokenIds(
        bos, pad, stops, suppressed, _told(settings, stated, {i: ends[i] for i in added})
    )


def _told(
    settings: TextSettings, stated: tuple[int, ...], added: Mapping[int, str]
) -> tuple[str, ...]:
    if not added:
        return ()
    named = " and ".join(f"{text} ({index})" for index, text in added.items())
    file = next((file for file, _ in settings.stated("eos_token_id")), None)
    says = f"eos_token_id in {file} is {list(stated)}" if file else "no file has an eos_token_id"
    return (f"answers stop at {named}, too: {says}",)


def _named(
    settings: TextSettings, tokenizer: TokenizerFile, key: str, rows: int, problems: list[str]
) -> int | None:
    """The id of a token that tokenizer_config.json names, or that another file numbers."""
    text = settings.token_text(key)
    if text is not None and text in tokenizer.ids:
        return tokenizer.ids[text]
    found = _ids(settings, f"{key}_id", rows, problems)
    return found[0] if found else None


def _ids(settings: TextSettings, key: str, rows: int, problems: list[str]) -> tuple[int, ...]:
    """A number or a list of them; empty where no file has the key, or where it is wrong."""
    file, value = next(settings.stated(key), ("", []))
    ids = value if isinstance(value, list) else [value]
    if wrong := [index for index in ids if not _is_token(index, rows)]:
        problems.append(f"{file}: {key}: expected token ids below {rows}, found {wrong}")
        return ()
    return tuple(dict.fromkeys(ids))


def _is_token(index: Any, rows: int) -> bool:
    return type(index) is int and 0 <= index < rows
