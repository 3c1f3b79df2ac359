"""Bundles the reference runtime cannot run: one sentence each, exit code 1; and its command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema

from exporter.bundle.inspection import inspect_bundle
from exporter.bundle.integrity import check_sections
from exporter.bundle.reader import BundleSection, open_bundle
from exporter.contract.names import Section
from exporter.errors import BundleError
from runtime_py.litert.native_log import captured_native_log
from runtime_py.opened_model import open_model
from tests.bundles import DRAFT_LENGTH, held_out_prompts
from tests.command import Done, run, run_process
from tests.damage import damaged, rewritten

SECTIONS = 8
"""Of a bundle with a drafter: four models, the draft round, the manifest, tokenizer and metadata."""

BUILTIN_CODE, UNKNOWN_OPERATION = 10, 250
"""The field of an operator code in LiteRT's schema, and a value that it gives no meaning."""

INTERRUPTED = """
import signal, sys
from exporter.cli.main import main

def interrupt(frame, happened, argument):
    if [happened, frame.f_code.co_name] == wanted:
        signal.raise_signal(signal.SIGINT)

wanted = [sys.argv.pop(1), sys.argv.pop(1)]
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.setprofile(interrupt)
main()
"""
"""The command with a Ctrl-C in it when a certain thing happens in a certain function."""


REFERENCE = ("--runtime", "reference", "--max-new-tokens", "12")


def generate(*arguments: str | Path) -> Done:
    return run("generate", *arguments, *REFERENCE)


@pytest.fixture(scope="module")
def bundle(tiny_bundles: dict[str, Path]) -> Path:
    return tiny_bundles["int8"]


def entry(bundle: Path, data_type: str) -> BundleSection:
    return next(s for s in open_bundle(bundle).sections if s.data_type == data_type)


def assert_one_sentence(done: Done, *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_not_a_bundle(tmp_path: Path) -> None:
    path = tmp_path / "x.litertlm"
    path.write_text("hello")
    assert_one_sentence(generate(path, "-p", "x"), "expected a .litertlm bundle")
    assert_one_sentence(generate(tmp_path / "none", "-p", "x"), "no such file")


@pytest.mark.parametrize("part", [0.001, 0.3, 0.9, 0.999])
def test_a_truncated_bundle(part: float, bundle: Path, tmp_path: Path) -> None:
    content = bundle.read_bytes()
    path = tmp_path / "short.litertlm"
    path.write_bytes(content[: int(len(content) * part)])
    assert_one_sentence(generate(path, "-p", "x"), str(path))


def test_a_flipped_byte_in_the_tokenizer(bundle: Path, tmp_path: Path) -> None:
    section = entry(bundle, "HF_Tokenizer_Zlib")
    path = damaged(bundle, tmp_path, section.begin + section.nbytes // 2)
    assert_one_sentence(generate(path, "-p", "x"), "damaged")


def test_a_damaged_manifest(bundle: Path, tmp_path: Path) -> None:
    section = entry(bundle, "GenericBinaryData")
    path = damaged(bundle, tmp_path, section.begin, b"[")
    assert_one_sentence(generate(path, "-p", "x"), "damaged")


@pytest.mark.parametrize(
    ("says", "instead"),
    [(b'"hidden_size": 1', b'"hidden_size": 2'), (b'"kv_dtype": "float32"', b'"kv_dtype": "int8"')],
)
def test_a_contract_the_graphs_do_not_keep(
    says: bytes, instead: bytes, bundle: Path, tmp_path: Path
) -> None:
    """The runtime refuses what ``inspect`` calls broken, in the same words."""
    section = entry(bundle, "GenericBinaryData")
    content = open_bundle(bundle).read(section)
    changed = content.replace(says, instead.ljust(len(says)), 1)
    assert changed != content
    path = rewritten(bundle, tmp_path, section, changed)
    with pytest.raises(BundleError, match="do not keep the contract") as refused, open_model(path):
        pass
    first, second = inspect_bundle(path).problems[:2]
    assert f"  - {first}\n  - {second}\n" in str(refused.value)


def test_another_family(bundle: Path, tmp_path: Path) -> None:
    """The model type is a union of messages; the template takes up the room that Gemma's fields leave."""
    opened = open_bundle(bundle)
    message = opened.llm_metadata()
    before = message.SerializeToString(deterministic=True)
    message.llm_model_type.qwen3.SetInParent()
    room = len(before) - len(message.SerializeToString(deterministic=True))
    message.jinja_prompt_template += " " * room
    after = message.SerializeToString(deterministic=True)
    assert len(after) == len(before)
    path = rewritten(bundle, tmp_path, entry(bundle, "LlmMetadataProto"), after)
    assert_one_sentence(generate(path, "-p", "x"), "expected a gemma4 bundle, found qwen3")


def test_drafting_without_a_drafter(plain_bundle: Path) -> None:
    assert_one_sentence(generate(plain_bundle, "-p", "x", "--mtp", "on"), "no drafter")
    assert generate(plain_bundle, "-p", "x", "--mtp", "off").returncode == 0


def test_a_context_that_is_full(bundle: Path) -> None:
    """Of several prompts, it is said which."""
    done = generate(bundle, "-p", "Why?", "-p", "who " * 1200, "--max-num-tokens", "1100")
    assert_one_sentence(done, "the context holds 1100", "begins with 'who who")


def test_a_context_no_graph_can_have(bundle: Path) -> None:
    done = generate(bundle, "-p", "x", "--max-num-tokens", "64")
    assert_one_sentence(done, "asked for a cache of 64 slots; this bundle allows 192 to 1024")


@pytest.mark.parametrize("index", range(SECTIONS))
def test_a_flipped_byte_in_any_section(index: int, bundle: Path, tmp_path: Path) -> None:
    """At its very end: in a model section, the last weight's last byte or what follows it."""
    check_sections(open_bundle(bundle), weights=True)
    sections = open_bundle(bundle).sections
    assert len(sections) == SECTIONS
    section = sections[index]
    path = damaged(bundle, tmp_path, section.end - 1)
    assert_one_sentence(generate(path, "-p", "x"), "damaged", str(path))


def test_weights_are_looked_at_on_demand_and_graphs_always(bundle: Path, tmp_path: Path) -> None:
    section = open_bundle(bundle).model(Section.PREFILL_DECODE)
    assert section is not None
    behind = open_bundle(damaged(bundle, tmp_path, section.end - 1))
    check_sections(behind, weights=False)
    front = open_bundle(damaged(bundle, tmp_path, section.begin + 20))
    with pytest.raises(BundleError, match="tf_lite_prefill_decode"):
        check_sections(front, weights=False)


def test_a_graph_that_litert_refuses(bundle: Path, tmp_path: Path) -> None:
    section = open_bundle(bundle).model(Section.EMBEDDER)
    assert section is not None
    graph = open_bundle(bundle).read(section)[: section.graph_bytes]
    path = rewritten(bundle, tmp_path, section, with_unknown_operations(graph))
    done = run_process("generate", path, "-p", "x", *REFERENCE)
    assert_one_sentence(done, "tf_lite_embedder: LiteRT cannot load this section")
    assert "INFO" not in done.stderr, "LiteRT's chatter reaches the terminal"


def with_unknown_operations(graph: bytes) -> bytes:
    """A flatbuffer whose signatures are the same and whose operations nobody knows."""
    changed = bytearray(graph)
    model = schema.Model.GetRootAs(changed, 0)
    for code in map(model.OperatorCodes, range(model.OperatorCodesLength())):
        table = code._tab
        changed[table.Pos + table.Offset(BUILTIN_CODE)] = UNKNOWN_OPERATION
        assert code.BuiltinCode() == UNKNOWN_OPERATION
    return bytes(changed)


def test_a_weight_cache_that_cannot_be(bundle: Path) -> None:
    done = run_process("generate", bundle, "-p", "x", "--weight-cache", "/proc/none", *REFERENCE)
    assert_one_sentence(done, "/proc/none: packed weights cannot be kept there")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("event", "function"),
    [
        ("call", "_set_options"),
        ("return", "_set_options"),
        ("call", "_signatures"),
        ("call", "signature"),
    ],
)
def test_an_interrupt_while_a_graph_is_loaded(event: str, function: str, bundle: Path) -> None:
    """Before LiteRT compiles it, while it does, when it has, and once the graph is in use."""
    command = [sys.executable, "-c", INTERRUPTED, event, function, "generate", str(bundle)]
    done = subprocess.run(
        [*command, "-p", "x", "--runtime", "reference"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == "mtp-export: interrupted; nothing was left half-written"
    assert done.stdout == ""


def test_native_words_are_captured() -> None:
    with captured_native_log() as log:
        subprocess.run(["sh", "-c", "echo ERROR: it broke >&2; echo chatter >&2"], check=True)  # noqa: S607
    assert log.last_errors() == "\n  | ERROR: it broke"


def answers(done: Done) -> Sequence[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_generate_with_the_reference_runtime(bundle: Path) -> None:
    prompt = held_out_prompts(1)[0]
    done = run_process("generate", bundle, "-p", prompt, *REFERENCE)
    assert "INFO:" not in done.stderr, "LiteRT's chatter reaches the terminal"
    engine = run("generate", bundle, "-p", prompt, "--mtp", "off", "--max-new-tokens", "12")
    assert answers(engine) == answers(done)


def test_generate_as_json(bundle: Path) -> None:
    arguments = ("-p", held_out_prompts(1)[0], "--mtp", "on", "--draft-length", "2", "--json")
    shown = json.loads(generate(bundle, *arguments).stdout)["on"]
    assert len(shown["acceptance"]["drafted"]) == 2
    assert shown["replies"][0][0]["decode_tokens"] == 12


def test_sampling_under_mtp(bundle: Path) -> None:
    sampled = ("-p", "x", "--temperature", "3", "--seed", "7")
    texts = [
        answers(generate(bundle, *sampled, "--mtp", "on", "--draft-length", str(drafts)))
        for drafts in (1, DRAFT_LENGTH)
    ]
    assert texts[0] == texts[1]
    assert answers(generate(bundle, *sampled)) == texts[0]


@pytest.mark.parametrize("length", ["0", "-1", "some"])
def test_a_draft_length_that_is_none(length: str, bundle: Path) -> None:
    done = generate(bundle, "-p", "x", "--draft-length", length)
    assert done.returncode == 2
    assert "`auto` or a number" in done.stderr


def test_the_engine_has_no_draft_length(bundle: Path) -> None:
    done = run("generate", bundle, "-p", "x", "--draft-length", "2")
    assert done.returncode == 2
    assert "--runtime reference" in done.stderr


REPEAT = "Repeat this text: The zebra ate the lamp in the castle, and the zebra was happy."


@pytest.mark.parametrize("source", ["lookup", "drafter", "auto"])
def test_where_drafts_are_from(source: str, bundle: Path) -> None:
    arguments = ("-p", REPEAT, "-p", REPEAT, "--draft-from", source, "--json")
    shown = json.loads(run("compare", bundle, *arguments, *REFERENCE, "--rounds", "1").stdout)
    assert not shown["differences"]
    (on,) = shown["runs"]["on"]
    assert bool(on["acceptance"]["drafted"]) == (source != "lookup")
    assert on["lookup_acceptance"]["drafted"] or source != "lookup"
    assert not on["lookup_acceptance"]["drafted"] or source != "drafter"
    if source == "lookup":
        assert on["success_rate"] is None, "what was looked up counts for the drafter"
        assert shown["verdict"] is None, "the drafter drafted nothing"
    elif on["lookup_acceptance"]["drafted"]:
        assert shown["verdict"]["speed"] is None, "the speed of what was looked up is the drafter's"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("auto", "--draft-length", "2", *REFERENCE), "leave out --draft-length"),
        (("lookup", "--batch", "2", *REFERENCE), "leave out --batch or --draft-from"),
        (("lookup", "--mtp", "off", *REFERENCE), "leave out --draft-from"),
        (("lookup",), "--draft-from needs --runtime"),
    ],
)
def test_where_drafts_cannot_be_from(options: tuple[str, ...], words: str, bundle: Path) -> None:
    done = run("generate", bundle, "-p", "x", "--draft-from", *options)
    assert done.returncode == 2
    assert words in done.stderr
