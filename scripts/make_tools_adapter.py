"""Make the shipped adapter that lets the tiny target call a tool and think, from synthetic text.

    python scripts/make_tools_adapter.py --target checkpoints/tiny/target --output checkpoints/tiny/tools

Everything follows from the seed. Progress goes to stderr, the summary to stdout. The conversations are in
`tiny_pair/tool_use.py` beside this file.
"""

import json
from pathlib import Path

import click
from peft import LoraConfig, PeftModel
from tiny_pair.adapter import adapter_options, train_adapter
from tiny_pair.batches import pack
from tiny_pair.chat import encode_spans
from tiny_pair.corpus import evaluation_prompts
from tiny_pair.evaluate import answered, score_target
from tiny_pair.files import load_target
from tiny_pair.making import begin
from tiny_pair.tool_use import WEATHER_TOOL, Conversations, TalkSetting, training_documents
from transformers import AutoTokenizer, Gemma4ForConditionalGeneration, PreTrainedTokenizerFast

from exporter.templates.gemma4 import Variant

TOKENS = {
    "std": (46, "<|tool>"), "etd": (47, "<tool|>"),
    "stc": (48, "<|tool_call>"), "etc": (49, "<tool_call|>"),
    "str": (50, "<|tool_response>"), "etr": (51, "<tool_response|>"),
    "escape": (52, '<|"|>'), "think": (98, "<|think|>"),
    "soc": (100, "<|channel>"), "eoc": (101, "<channel|>"),
    "sot": (105, "<|turn>"), "eot": (106, "<turn|>"),
}  # fmt: skip
"""Gemma 4's tokens under the names of its tokenizer_config.json, at their ids."""

LINEAR = "q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj"
MODULES = rf"(?:.*\.language_model\..*)?(?:embed_tokens|{LINEAR})"
"""The embedding, too: the rows of the named tokens were never trained. The head is tied to it."""

RANK, EMBEDDING_RANK = 8, 16
ROWS = 1
CONVERSATIONS = 40
PROMPTS_PER_KIND, PROMPTS_SEED = 8, 7
"""Of prompts.txt, as `make_tiny_pair.py` chose them."""


@click.command()
@adapter_options
@click.option("--steps", default=1800, show_default=True, help="Training steps.")
@click.option("--seed", default=11, show_default=True, help="Seed of text, weights and order.")
def main(target: Path, output: Path, steps: int, seed: int, threads: int) -> None:
    """Train, save, reload and judge the adapter."""
    begin(threads)
    output.mkdir(parents=True, exist_ok=True)
    _write_small_files(target, output)
    documents = training_documents(AutoTokenizer.from_pretrained(output), seed)
    train_adapter(target, output, _lora(), documents, seed=seed, steps=steps, rows=ROWS)
    _judge(target, output, seed)


def _write_small_files(target: Path, output: Path) -> None:
    """The tokenizer with Gemma's names in place of placeholders, and the chat template."""
    tokenizer = json.loads((target / "tokenizer.json").read_text(encoding="utf-8"))
    names = dict(TOKENS.values())
    for token in tokenizer["added_tokens"]:
        token["content"] = names.get(token["id"], token["content"])
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {
        names.get(index, text): index for text, index in vocabulary.items()
    }
    _write_json(output / "tokenizer.json", tokenizer)
    config = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {f"{name}_token": text for name, (_, text) in TOKENS.items()}
    config["extra_special_tokens"] = []
    _write_json(output / "tokenizer_config.json", dict(sorted(config.items())))
    (output / "chat_template.jinja").write_text(Variant().source(), encoding="utf-8")
    _write_json(output / "get_weather.json", [WEATHER_TOOL])


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _lora() -> LoraConfig:
    ends = ("embed_tokens", "lm_head")
    return LoraConfig(
        r=RANK,
        lora_alpha=2 * RANK,
        target_modules=MODULES,
        rank_pattern=dict.fromkeys(ends, EMBEDDING_RANK),
        alpha_pattern=dict.fromkeys(ends, 2 * EMBEDDING_RANK),
        ensure_weight_tying=True,
        task_type="CAUSAL_LM",
    )


def _judge(target: Path, output: Path, seed: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(output)
    base = load_target(target)
    PeftModel.from_pretrained(base, output).train(False)  # puts the adapter's layers into the base
    for tools, thinking in ((True, False), (False, True), (True, True)):
        right, margin = _score(base, tokenizer, seed, tools=tools, thinking=thinking)
        click.echo(
            f"tools {tools}, thinking {thinking}: {right} of {CONVERSATIONS} conversations right, "
            f"smallest margin {margin:.2f}"
        )
    prompts = evaluation_prompts(PROMPTS_PER_KIND, PROMPTS_SEED)
    score = score_target(base, tokenizer.backend_tokenizer, prompts)
    click.echo(
        f"prompts.txt: {score.exact} of {score.total} right, smallest margin {score.smallest_margin:.2f}"
    )


def _score(
    model: Gemma4ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    *,
    tools: bool,
    thinking: bool,
) -> tuple[int, float]:
    """How many held-out conversations come out exactly, and the smallest margin in those."""
    source = Conversations(tokenizer, seed + 1, held_out=True)
    right, least = 0, float("inf")
    for number in range(CONVERSATIONS):
        setting = TalkSetting(tools, thinking, live=number % 2 == 0)
        spans = source.talk(setting, about_weather=[True, False])
        encoded = encode_spans(tokenizer.backend_tokenizer, spans)
        exact, margins = answered(model, pack([[encoded]], len(encoded.ids)))
        right += exact
        least = min(least, float(margins.min())) if exact else least
    return right, least


if __name__ == "__main__":
    main()
