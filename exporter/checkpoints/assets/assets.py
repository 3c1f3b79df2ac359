"""What a bundle needs of a checkpoint besides weights: tokenizer, chat template, tokens, sampler.

Parsed from the files transformers saves beside the weights; no tokenizer code is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from exporter.checkpoints.architecture import TargetConfig
from exporter.checkpoints.assets.media_tokens import (
    PICTURE,
    SOUND,
    MediaTokens,
    read_media_tokens,
)
from exporter.checkpoints.assets.sampler_defaults import SamplerDefaults, not_carried, read_sampler
from exporter.checkpoints.assets.special_tokens import special_tokens
from exporter.checkpoints.assets.template_choice import (
    CHECKPOINTS_OWN,
    TemplateChoice,
    choose_template,
)
from exporter.checkpoints.assets.text_settings import TextSettings
from exporter.checkpoints.assets.token_ids import TokenIds, read_token_ids
from exporter.checkpoints.assets.tokenizer_file import TOKENIZER, PlainTokenizer, read_tokenizer
from exporter.checkpoints.checkpoint import GENERATION, Checkpoint
from exporter.templates.fitting import FittedTemplate


@dataclass(frozen=True)
class Assets:
    """Text side of a target checkpoint."""

    tokenizer: PlainTokenizer
    template: FittedTemplate
    ids: TokenIds
    sampler: SamplerDefaults
    special_tokens: Mapping[str, str]
    """Texts of Gemma's named special tokens (``stc_token``, ...) as far as the tokenizer has them."""
    picture_tokens: MediaTokens | None
    sound_tokens: MediaTokens | None
    """None where the tokenizer has none."""
    notes: tuple[str, ...]
    """What was put right or left out, for the person who exports."""


def read_assets(
    target: Checkpoint, config: TargetConfig, choice: TemplateChoice = CHECKPOINTS_OWN
) -> Assets:
    """Collect tokenizer, template and generation defaults of a target.

    Raises:
        CheckpointError: One of them is missing or damaged, or a token has no row in the model.
        TemplateError: The engine cannot render the template as transformers does.
    """
    tokenizer = read_tokenizer(target.small_file(TOKENIZER))
    rows = min(config.text.vocab_size, config.per_layer_vocab_size)
    tokenizer.check_rows(rows)
    settings = TextSettings.of(target)
    special = special_tokens(settings, tokenizer)
    ids = read_token_ids(settings, tokenizer, special, rows)
    template, told = choose_template(target, tokenizer, choice)
    notes = [*tokenizer.plain.notes(), *told, *ids.notes]
    if left_out := ", ".join(not_carried(settings)):
        notes.append(f"{GENERATION}: no place in a bundle for {left_out}; apps must ask for them")
    sampler = read_sampler(settings, rows)
    pictures, sound = (read_media_tokens(m, target.config, tokenizer) for m in (PICTURE, SOUND))
    return Assets(tokenizer.plain, template, ids, sampler, special, pictures, sound, tuple(notes))
