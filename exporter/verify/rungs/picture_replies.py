"""Rung: the stock engine's replies about pictures are the reference runtime's, and transformers'.

The pictures are of sizes that the engine does not resize. Per-layer embeddings of the token at the end of a
picture are those of token 0 in the engine; transformers is given that row for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporter.verify.answers import PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.picture_evidence import PictureEvidence
from exporter.verify.rung import NO_PICTURES, Figure, NearTie, Rung, Title
from exporter.verify.rungs import engine
from exporter.verify.rungs.engine import Findings
from exporter.verify.sides.picture_golden import ask_replies
from exporter.verify.sides.picture_replies import as_prompt
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.same_text import first_difference

TITLE = Title(
    "picture-replies",
    "The stock engine's replies about pictures are transformers' replies",
    "If rungs about pictures above have failed, begin there. If the engine differs from the reference "
    "runtime, look at litert-lm-api's version (pip install 'mtp-export[engine]'); if both differ from "
    "transformers, at transformers' (pip install 'mtp-export[reference]').",
)

REASON = (
    f"{engine.REASON}. With float32 weights and caches the replies must be transformers', too, which gets "
    "row 0 of the per-layer embeddings for the end of a picture, as the engine takes it; with fewer bits "
    "that is told"
)


def judge(evidence: Evidence) -> Rung:
    """Compare the engine with the reference runtime, and that with transformers where it can be asked."""
    if (pictures := evidence.pictures) is None:
        return TITLE.skipped(NO_PICTURES)
    if not pictures.replies:
        return TITLE.skipped("the cache is too short for a prompt with a picture")
    said = evidence.ask_engine([reply.question.conversation for reply in pictures.replies])
    if said.not_asked:
        return TITLE.skipped(said.not_asked)
    found = engine.compare_replies(said, pictures.answers, evidence)
    note = _no_transformers(evidence)
    if not note:
        _compare_with_transformers(evidence, pictures, found)
    return found.judged(TITLE, REASON, note and f"not compared with transformers: {note}")


def _no_transformers(evidence: Evidence) -> str:
    if evidence.request.target is None:
        return "no --target given"
    return evidence.no_golden


def _compare_with_transformers(
    evidence: Evidence, pictures: PictureEvidence, found: Findings
) -> None:
    target, model = evidence.request.target, evidence.model
    assert target is not None
    prompts = [as_prompt(model, reply.question) for reply in pictures.replies]
    with evidence.reporter.stage("Answering about pictures in transformers", None):
        theirs = ask_replies(
            target,
            prompts,
            evidence.request.max_new_tokens,
            model.tokenizer.stop_tokens,
            model.tokenizer.suppressed_tokens,
            evidence.request.threads,
        )
    rounds = evidence.rounds or pictures.rounds
    problems, ties = compare_tokens(pictures.answers, theirs, model.tokenizer, evidence.noise)
    found.figures.append(Figure("not transformers' reply", len(problems), None if rounds else 0))
    if not rounds:
        found.problems += problems
        found.near_ties += ties


def compare_tokens(
    answers: Sequence[PromptAnswers],
    replies: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    noise: float,
) -> tuple[list[str], list[NearTie]]:
    """The reference runtime's greedy answers with transformers': where they part, and where by a near-tie."""
    problems, ties = [], []
    for number, (answer, reply) in enumerate(zip(answers, replies, strict=True), start=1):
        tokens = answer.greedy.tokens
        at = first_difference(tokens, reply)
        if at is None:
            continue
        where = f"transformers, answer {number}, token {at + 1}"
        ours, theirs = (
            tokenizer.text_of(side[at]) if at < len(side) else "the end" for side in (tokens, reply)
        )
        if at < min(len(tokens), len(reply)) and answer.greedy.margins[at] <= noise:
            ties.append(NearTie(where, ours, theirs, answer.greedy.margins[at], noise))
        else:
            problems.append(f"{where}: {ours!r} instead of {theirs!r}")
    return problems, ties
