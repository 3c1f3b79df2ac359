"""A model card: what a bundle says of itself, and what was measured, as Markdown with front matter.

Nothing is claimed that is not in the bundle or in a report about it. The front matter is JSON values, which
YAML reads as they are.

Source: https://huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.bundle.inspection import Inspection
from exporter.bundle.stored_pictures import stated_pictures
from exporter.bundle.stored_sound import stated_sound
from exporter.checkpoints.pair import DRAFTER, TARGET
from exporter.cli.inspect_parts import ORIGINS, contract_lines, stored_as
from exporter.cli.size import shown_size
from exporter.version import versions_line

ENGINE = "stock engine"
"""What ``bench`` calls LiteRT-LM; its figures are shown alone where there are some."""

TAGS = ("litert", "litert-lm", "gemma4", "on-device")
DRAFTER_TAGS = ("speculative-decoding", "mtp")


@dataclass(frozen=True)
class Licence:
    """A licence as a card has it; ``name`` and ``link`` are of one that the hub has no id for."""

    identifier: str
    name: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of; what is None is left out."""

    inspection: Inspection
    base_model: str | None
    """Hub id of the target."""
    licence: Licence | None
    verified: Mapping[str, Any] | None
    """What ``verify --json`` printed of this bundle."""
    benched: Mapping[str, Any] | None
    """What ``bench --json`` printed of it."""

    @property
    def manifest(self) -> Mapping[str, Any]:
        assert self.inspection.manifest is not None
        return self.inspection.manifest

    @property
    def file(self) -> str:
        return self.inspection.bundle.path.name


def model_card(facts: CardFacts) -> str:
    """The whole card."""
    parts = [
        *_head(facts),
        *_how_to_run(facts),
        *_inside(facts),
        *_checked(facts),
        *_speed(facts),
        *_origin(facts),
    ]
    return "\n".join(["---", *_front_matter(facts), "---", "", *parts])


def _front_matter(facts: CardFacts) -> Iterator[str]:
    found: dict[str, Any] = {}
    if facts.base_model is not None:
        found |= {"base_model": facts.base_model, "base_model_relation": "quantized"}
    if facts.licence is not None:
        found["license"] = facts.licence.identifier
        found |= {"license_name": facts.licence.name} if facts.licence.name else {}
        found |= {"license_link": facts.licence.link} if facts.licence.link else {}
    found |= {
        "library_name": "litert-lm",
        "pipeline_tag": _pipeline(facts.inspection),
        "tags": _tags(facts),
    }
    return (f"{key}: {json.dumps(value)}" for key, value in found.items())


def _pipeline(inspection: Inspection) -> str:
    if inspection.pictures is not None:
        return "image-text-to-text"
    return "audio-text-to-text" if inspection.sound is not None else "text-generation"


def _tags(facts: CardFacts) -> list[str]:
    return [
        *TAGS,
        *(DRAFTER_TAGS if facts.inspection.has_drafter else ()),
        facts.manifest["recipe"]["name"],
    ]


def _head(facts: CardFacts) -> Iterator[str]:
    sources, inspection = facts.manifest["sources"], facts.inspection
    yield f"# {facts.inspection.bundle.path.stem}"
    yield ""
    yield (
        f"`{facts.file}` ({shown_size(inspection.bundle.path.stat().st_size)}) is {_name(sources[TARGET])} "
        "for [LiteRT-LM](https://github.com/google-ai-edge/LiteRT-LM), Google's runtime for phones and "
        f"desktops, with weights stored by the recipe `{facts.manifest['recipe']['name']}` of mtp-export."
    )
    if inspection.has_drafter:
        named = f" {_name(sources[DRAFTER])}" if sources.get(DRAFTER) else ""
        yield (
            f"The drafter{named} is part of the file: with speculative decoding on "
            "(multi-token prediction, MTP) it proposes tokens that the model checks, and answers are "
            "those of greedy decoding."
        )


def _name(source: Mapping[str, Any]) -> str:
    """A checkpoint as a link, if it is on the hub, with the adapter that was merged into it."""
    name = source["source"]
    found = f"[{name}](https://huggingface.co/{name})" if source["revision"] else f"`{name}`"
    adapter = source.get("adapter")
    return f"{found} with the adapter {_name(adapter)}" if adapter else found


def _how_to_run(facts: CardFacts) -> Iterator[str]:
    drafter = facts.inspection.has_drafter
    yield from ("", "## How to run it", "", "```sh", "pip install litert-lm")
    mtp = " --speculative-decoding true" if drafter else ""
    yield f'litert-lm run {facts.file} --prompt "Why is the sky blue?"{mtp}'
    yield from ("```", "", "```python", "import litert_lm", "")
    mtp = ", enable_speculative_decoding=True" if drafter else ""
    yield f'with litert_lm.Engine("{facts.file}"{mtp}) as engine:'
    yield "    with engine.create_conversation() as conversation:"
    yield '        for chunk in conversation.send_message_async("Why is the sky blue?"):'
    yield '            print(chunk["content"][0]["text"], end="")'
    yield "```"
    if drafter:
        yield from (
            "",
            "In Kotlin: `ExperimentalFlags.enableSpeculativeDecoding = true` before `Engine.initialize()`.",
        )


def _inside(facts: CardFacts) -> Iterator[str]:
    inspection = facts.inspection
    yield from ("", "## What is inside", "")
    lines = contract_lines(inspection.contract, inspection.problems)
    lines += [stated_pictures(inspection.pictures)] if inspection.pictures is not None else []
    lines += [stated_sound(inspection.sound)] if inspection.sound is not None else []
    yield from (f"- {line}" for line in lines)
    yield from ("", "| section | size | weights |", "|---|---:|---|")
    for name, model in inspection.models.items():
        kinds: Counter[str] = Counter()
        for group in model.weights:
            kinds[stored_as(group)] += group.count
        weights = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        yield f"| `{name}` | {shown_size(model.nbytes)} | {weights} |"


def _checked(facts: CardFacts) -> Iterator[str]:
    if (found := facts.verified) is None:
        return
    yield from ("", "## How it was checked", "")
    yield f"`mtp-export verify` ({versions_line(found['tools'])}): {found['headline']}."
    yield from ("", "| comparison | result |", "|---|---|")
    yield from (
        f"| {rung['title']} | {rung['verdict']} |"
        for rung in found["rungs"]
        if rung["verdict"] != "skipped"
    )
    drafted, accepted = (sum(pair[i] for pair in found["acceptance"]) for i in (0, 1))
    if drafted:
        yield from (
            "",
            f"Of {drafted} drafts in its answers {accepted / drafted:.0%} were accepted.",
        )


def _speed(facts: CardFacts) -> Iterator[str]:
    if (found := facts.benched) is None:
        return
    machine = found["machine"]
    engine = [side for side in found["sides"] if side["runtime"] == ENGINE]
    yield from ("", "## Speed", "")
    yield (
        f"`mtp-export bench` on {machine['processor']} ({machine['cores']} cores), threads: "
        f"{found['threads']}, prompts: {found['prompts']}, tokens of an answer: up to "
        f"{found['max_new_tokens']}, rounds: {found['rounds']}, of which these are medians."
    )
    yield from ("", "| runtime | MTP | tokens/s | peak memory |", "|---|---|---:|---:|")
    for side in engine or found["sides"]:
        yield (
            f"| {side['runtime']} | {'on' if side['mtp'] else 'off'} | {side['tokens_per_second']:.1f} | "
            f"{shown_size(side['peak_resident_bytes'])} |"
        )
    yield from ("", f"On MTP: {found['verdict']['text']}")


def _origin(facts: CardFacts) -> Iterator[str]:
    manifest = facts.manifest
    yield from ("", "## How it was made", "")
    for role in (TARGET, DRAFTER):
        if (source := manifest["sources"].get(role)) is None:
            continue
        at = f" at `{source['revision']}`" if source["revision"] else ""
        yield f"- {role}: {_name(source)}{at}"
    if (template := manifest["options"].get("chat_template")) is not None:
        yield f"- chat template: {ORIGINS.get(template['origin'], template['origin'])}"
    yield "- rules of the recipe and SHA-256 of every source: `mtp-export inspect --json` shows them"
    yield f"- tools: {versions_line(manifest['tools'])}"
