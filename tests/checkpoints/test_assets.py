"""What is read beside the weights, as transformers means it: sampler, tokens, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from exporter.checkpoints.assets.sampler_defaults import SamplerDefaults
from exporter.errors import CheckpointError
from tests.checkpoints.beside_weights import GEMMA_TOKENS, ROWS, Beside, other_notes

GREEDY = SamplerDefaults(1, 1.0, 1.0)

SAMPLERS: dict[str, tuple[dict[str, Any], SamplerDefaults]] = {
    "as Google's": (
        {"do_sample": True, "top_k": 64, "top_p": 0.95, "temperature": 1.0},
        SamplerDefaults(64, 0.95, 1.0),
    ),
    "do_sample false": ({"do_sample": False, "top_k": 64, "top_p": 0.95}, GREEDY),
    "do_sample absent": ({"top_k": 64, "temperature": 0.7}, GREEDY),
    "temperature 0": ({"do_sample": True, "top_k": 64, "temperature": 0.0}, GREEDY),
    "top_p 0": ({"do_sample": True, "top_p": 0.0}, GREEDY),
    "top_k 0": ({"do_sample": True, "top_k": 0}, SamplerDefaults(ROWS, 1.0, 1.0)),
    "top_k absent": ({"do_sample": True, "temperature": 0.5}, SamplerDefaults(50, 1.0, 0.5)),
    "nulls": (
        {"do_sample": True, "top_k": None, "top_p": None, "temperature": None},
        SamplerDefaults(50, 1.0, 1.0),
    ),
    "top_k of more than there are": (
        {"do_sample": True, "top_k": 100_000, "top_p": 1.5},
        SamplerDefaults(ROWS, 1.0, 1.0),
    ),
    "one token": ({"do_sample": True, "top_k": 1}, GREEDY),
}


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    return Beside.copied_to(tmp_path / "target")


@pytest.mark.parametrize("case", SAMPLERS)
def test_samplers(beside: Beside, case: str) -> None:
    said, expected = SAMPLERS[case]
    beside.write("generation_config.json", {"eos_token_id": [1, 106, 50], **said})
    assert beside.assets().sampler == expected
    metadata = beside.metadata().sampler_params
    assert (metadata.k, metadata.temperature) == (expected.top_k, expected.temperature)
    assert metadata.p == pytest.approx(expected.top_p)


def test_what_transformers_fills_in() -> None:
    """The defaults above are those of the installed transformers."""
    from transformers import GenerationConfig

    filled = GenerationConfig._get_default_generation_params()
    assert {key: filled[key] for key in ("do_sample", "top_k", "top_p", "temperature")} == {
        "do_sample": False,
        "top_k": 50,
        "top_p": 1.0,
        "temperature": 1.0,
    }


def test_settings_without_a_place_in_a_bundle_are_named(beside: Beside) -> None:
    beside.edit(
        "generation_config.json",
        min_p=0.05,
        repetition_penalty=1.1,
        typical_p=1.0,
        bad_words_ids=[[5]],
        begin_suppress_tokens=[7],
    )
    (note,) = beside.notes()
    for said in (
        "min_p 0.05",
        "repetition_penalty 1.1",
        "bad_words_ids [[5]]",
        "begin_suppress_tokens",
    ):
        assert said in note
    assert "typical_p" not in note


class TestStops:
    """Turn's end and tool response's start stop an answer whatever eos_token_id says."""

    def test_as_googles(self, beside: Beside) -> None:
        assets = beside.assets()
        assert assets.ids.stops == (1, 106, 50)
        assert other_notes(assets) == ()

    @pytest.mark.parametrize("said", [1, [1], [1, 1]])
    def test_one_eos(self, beside: Beside, said: object) -> None:
        beside.edit("generation_config.json", eos_token_id=said)
        assets = beside.assets()
        assert assets.ids.stops == (1, 106, 50)
        assert other_notes(assets) == (
            "answers stop at <turn|> (106) and <|tool_response> (50), too: "
            "eos_token_id in generation_config.json is [1]",
        )

    def test_the_order_stays(self, beside: Beside) -> None:
        beside.edit("generation_config.json", eos_token_id=[1, 106])
        assert beside.assets().ids.stops == (1, 106, 50)

    def test_a_text_only_save(self, beside: Beside) -> None:
        """No generation_config.json; the text config has the id."""
        beside.remove("generation_config.json")
        beside.edit("config.json", eos_token_id=None)
        assets = beside.assets()
        assert assets.ids.stops == (1, 106, 50)
        assert assets.sampler == GREEDY
        assert other_notes(assets)[0].endswith("eos_token_id in config.json: text_config is [1]")

    def test_no_eos_at_all(self, beside: Beside) -> None:
        beside.remove("generation_config.json")
        text = beside.checkpoint().config["text_config"]
        beside.edit("config.json", eos_token_id=None, text_config={**text, "eos_token_id": None})
        assets = beside.assets()
        assert assets.ids.stops == (106, 50)
        assert other_notes(assets)[0].endswith("no file has an eos_token_id")

    def test_nothing_that_stops(self, beside: Beside) -> None:
        beside.rename_tokens({50: "<unused50>", 106: "<unused106>"})
        beside.remove("generation_config.json")
        text = beside.checkpoint().config["text_config"]
        beside.edit("config.json", eos_token_id=None, text_config={**text, "eos_token_id": None})
        with pytest.raises(CheckpointError, match="without a stop token an answer never ends"):
            beside.assets()


class TestSpecialTokens:
    """Named in tokenizer_config.json, or known by their texts."""

    @staticmethod
    def check(beside: Beside) -> None:
        metadata = beside.metadata()
        gemma = metadata.llm_model_type.gemma4
        assert gemma.code_fence_start == "<|tool_call>"
        assert gemma.code_fence_end == "<tool_call|>"
        assert gemma.open_quote == gemma.close_quote == '<|"|>'
        assert gemma.function_response_start == "<|tool_response>"
        (channel,) = metadata.channels
        assert (channel.channel_name, channel.start, channel.end) == (
            "thought",
            "<|channel>thought\n",
            "<channel|>",
        )

    @pytest.mark.parametrize(
        "named",
        [
            {},
            {"extra_special_tokens": ["<|video|>"]},
            {"soc_token": "<|channel>", "eoc_token": "<channel|>", "stc_token": "<|tool_call>"},
            {"extra_special_tokens": {"soc_token": "<|channel>", "eoc_token": "<channel|>"}},
            {"soc_token": {"content": "<|channel>", "special": True}},
            {"soc_token": "<not a token>"},
        ],
    )
    def test_gemmas(self, beside: Beside, named: dict[str, object]) -> None:
        beside.rename_tokens(GEMMA_TOKENS)
        beside.edit("tokenizer_config.json", **named)
        self.check(beside)

    def test_no_tokenizer_config(self, beside: Beside) -> None:
        beside.rename_tokens(GEMMA_TOKENS)
        beside.remove("tokenizer_config.json")
        self.check(beside)

    def test_named_otherwise(self, beside: Beside) -> None:
        """A name wins over the usual text."""
        beside.rename_tokens({**GEMMA_TOKENS, 99: "<|thought>"})
        beside.edit("tokenizer_config.json", soc_token="<|thought>")
        (channel,) = beside.metadata().channels
        assert channel.start == "<|thought>thought\n"

    def test_a_tokenizer_without_them(self, beside: Beside) -> None:
        metadata = beside.metadata()
        assert not metadata.channels
        assert not metadata.llm_model_type.gemma4.code_fence_start
        assert metadata.llm_model_type.gemma4.function_response_start == "<|tool_response>"


class TestIds:
    """Start, padding and suppressed tokens."""

    def test_as_they_are(self, beside: Beside) -> None:
        beside.edit("generation_config.json", suppress_tokens=[62, 61])
        metadata = beside.metadata()
        assert list(metadata.suppress_tokens.ids) == [62, 61]
        assert list(metadata.pad_token.token_ids.ids) == [0]
        assert list(metadata.start_token.token_ids.ids) == [2]
        assert metadata.min_runtime_version == "0.17.0"

    @pytest.mark.parametrize("said", [None, []])
    def test_nothing_suppressed(self, beside: Beside, said: object) -> None:
        beside.edit("generation_config.json", suppress_tokens=said)
        metadata = beside.metadata()
        assert not metadata.HasField("suppress_tokens")
        assert metadata.min_runtime_version == "0.15.0"

    @pytest.mark.parametrize("missing", ["tokenizer_config.json", "generation_config.json"])
    def test_from_other_files(self, beside: Beside, missing: str) -> None:
        beside.remove(missing)
        ids = beside.assets().ids
        assert (ids.bos, ids.pad) == (2, 0)

    def test_a_whole_token_for_a_name(self, beside: Beside) -> None:
        beside.edit("tokenizer_config.json", pad_token={"content": "<unused7>", "special": True})
        assert beside.assets().ids.pad == 7

    def test_no_padding(self, beside: Beside) -> None:
        text = beside.checkpoint().config["text_config"]
        beside.edit("config.json", text_config={**text, "pad_token_id": None})
        beside.edit("generation_config.json", pad_token_id=None)
        beside.edit("tokenizer_config.json", pad_token=None)
        assert not beside.metadata().HasField("pad_token")

    def test_every_wrong_one_is_listed(self, beside: Beside) -> None:
        beside.edit(
            "generation_config.json",
            eos_token_id=[1, ROWS],
            suppress_tokens=[258883, True],
            pad_token_id=-1,
        )
        beside.edit("tokenizer_config.json", pad_token=None)
        with pytest.raises(CheckpointError) as refused:
            beside.assets()
        for said in (
            f"eos_token_id: expected token ids below {ROWS}, found [{ROWS}]",
            "suppress_tokens: expected token ids below 2048, found [258883, True]",
            "pad_token_id: expected token ids below 2048, found [-1]",
        ):
            assert said in str(refused.value)

    def test_all_stop_tokens_suppressed(self, beside: Beside) -> None:
        beside.edit("generation_config.json", suppress_tokens=[1, 106, 50, 7])
        with pytest.raises(CheckpointError, match="hold every stop token"):
            beside.assets()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"top_k": "many"}, "top_k: expected a number from 0 on, found 'many'"),
        ({"top_k": 2.5}, r"top_k: expected a whole number, found 2\.5"),
        ({"top_p": -1}, "top_p: expected a number from 0 on, found -1"),
        ({"do_sample": "yes"}, "do_sample: expected true or false, found 'yes'"),
        ({"temperature": True}, "temperature: expected a number"),
    ],
)
def test_sampler_settings_that_are_none(
    beside: Beside, said: dict[str, object], message: str
) -> None:
    beside.edit("generation_config.json", **said)
    with pytest.raises(CheckpointError, match=message):
        beside.assets()


class TestBatching:
    """A tokenizer that was saved after it had made batches for training."""

    LONG = "the bear looked for honey. " * 20

    def test_nothing_of_it_is_in_the_bundle(self, beside: Beside, tmp_path: Path) -> None:
        path = beside.folder / "tokenizer.json"
        own = Tokenizer.from_file(str(path))
        whole = own.encode(self.LONG, add_special_tokens=False).ids
        plain = beside.assets().tokenizer
        assert plain.content() == path.read_bytes()
        assert plain.file(tmp_path) == path
        own.enable_truncation(16)
        own.enable_padding(length=16)
        beside.write("tokenizer.json", own.to_str())
        assert len(Tokenizer.from_file(str(path)).encode(self.LONG).ids) == 16
        assets = beside.assets()
        kept = Tokenizer.from_file(str(assets.tokenizer.file(tmp_path)))
        assert kept.encode(self.LONG, add_special_tokens=False).ids == whole
        assert len(kept.encode("bear", add_special_tokens=False).ids) < 16
        assert any("truncation and padding left out" in note for note in beside.notes())
        own.no_truncation()
        own.no_padding()
        assert json.loads(assets.tokenizer.content()) == json.loads(own.to_str())


class TestRows:
    """A tokenizer's ids against the rows of the embedding."""

    def test_added_tokens_without_a_row(self, beside: Beside) -> None:
        def change(tokenizer: dict[str, Any]) -> None:
            for extra in range(12):
                entry = {
                    **tokenizer["added_tokens"][0],
                    "id": ROWS + extra,
                    "content": f"<new{extra}>",
                }
                tokenizer["added_tokens"].append(entry)

        beside.edit_tokenizer(change)
        with pytest.raises(CheckpointError) as refused:
            beside.assets()
        said = str(refused.value)
        assert f"expected token ids below {ROWS}" in said
        assert "'<new0>' is 2048" in said
        assert "and 4 more" in said
        assert "resize_token_embeddings" in said

    def test_words_without_a_row(self, beside: Beside) -> None:
        beside.edit_tokenizer(lambda tokenizer: tokenizer["model"]["vocab"].update(unheard=5000))
        with pytest.raises(CheckpointError, match="'unheard' is 5000"):
            beside.assets()

    def test_a_list_of_pieces(self, beside: Beside) -> None:
        """Unigram models have ids by place."""

        def change(tokenizer: dict[str, Any]) -> None:
            pieces = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1])
            tokenizer["model"]["vocab"] = [[text, 0.0] for text, _ in pieces] + [["over", 0.0]]

        beside.edit_tokenizer(change)
        with pytest.raises(CheckpointError, match="'over' is 2048"):
            beside.assets()

    def test_more_rows_than_tokens(self, beside: Beside) -> None:
        """Rows are padded to round numbers; nobody says those tokens."""

        def change(tokenizer: dict[str, Any]) -> None:
            vocabulary = tokenizer["model"]["vocab"]
            tokenizer["model"]["vocab"] = {t: i for t, i in vocabulary.items() if i < 2000}

        beside.edit_tokenizer(change)
        assert beside.assets().ids.bos == 2
