"""What the rungs on replies about pictures and sounds share: engine, reference runtime, transformers agree.

Pictures are of sizes that the engine does not resize. Clips are at its rate; its mel filters are not those of
transformers, which therefore is given frames as the engine makes them. Per-layer embeddings of the token at
the end of either are those of token 0 in the engine; transformers is given that row for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exporter.verify.answers import PromptAnswers
from exporter.verify.evidence import Evidence
from exporter.verify.medium_evidence import MediumEvidence
from exporter.verify.rung import TAKES_NONE, Figure, NearTie, Rung, Title
from exporter.verify.rungs import engine
from exporter.verify.rungs.engine import Findings
from exporter.verify.sides.media_replies import as_prompt
from exporter.verify.sides.tower_golden import ask_replies
from runtime_py.chat.media import Medium
from runtime_py.chat.tokenizer import Tokenizer
from runtime_py.same_text import first_difference


def advice(medium: Medium) -> str:
    """What to do where such a rung fails."""
    return (
        f"If rungs about {medium.noun}s above have failed, begin there. If the engine differs from the "
        "reference runtime, look at litert-lm-api's version (the extra engine installs a tested one); if "
        "both differ from transformers, at transformers' (the extra reference installs a tested one)."
    )


def _reason(medium: Medium) -> str:
    frames = {
        Medium.IMAGE: "",
        Medium.AUDIO: "the frames that the engine makes, cut as the engine cuts them, and ",
    }
    return (
        f"{engine.REASON}. With float32 weights and caches the replies must be transformers', too, which "
        f"gets {frames[medium]}row 0 of the per-layer embeddings for the end of a {medium.noun}, as the "
        "engine takes it; with fewer bits that is told"
    )


def judge_replies(title: Title, medium: Medium, evidence: Evidence) -> Rung:
    """Compare the engine with the reference runtime, and that with transformers where it can be asked."""
    if (asked := evidence.medium(medium)) is None:
        return title.skipped(TAKES_NONE[medium])
    if not asked.replies:
        return title.skipped(f"the cache is too short for a prompt with a {medium.noun}")
    said = evidence.ask_engine([reply.question.conversation for reply in asked.replies])
    if said.not_asked:
        return title.skipped(said.not_asked)
    found = engine.compare_replies(said, asked.answers, evidence, lambda: _noise(evidence, asked))
    note = _no_transformers(evidence)
    if not note:
        _compare_with_transformers(evidence, asked, found)
    return found.judged(title, _reason(medium), note and f"not compared with transformers: {note}")


def _noise(evidence: Evidence, medium: MediumEvidence) -> float:
    return max(evidence.noise, medium.reply_noise)


def _no_transformers(evidence: Evidence) -> str:
    if evidence.request.target is None:
        return "no --target given"
    return evidence.no_golden


def _compare_with_transformers(evidence: Evidence, medium: MediumEvidence, found: Findings) -> None:
    model = evidence.model
    prompts = [as_prompt(model, reply.question) for reply in medium.replies]
    with evidence.reporter.stage(f"Answering about {medium.plural} in transformers", None):
        theirs = ask_replies(
            medium.target,
            medium.kind.names,
            prompts,
            evidence.request.max_new_tokens,
            model.tokenizer.stop_tokens,
            model.tokenizer.suppressed_tokens,
            evidence.request.threads,
        )
    rounds = evidence.rounds or medium.rounds
    problems, ties = compare_tokens(
        medium.answers, theirs, model.tokenizer, lambda: _noise(evidence, medium)
    )
    found.figures.append(Figure("not transformers' reply", len(problems), None if rounds else 0))
    if not rounds:
        found.problems += problems
        found.near_ties += ties


def compare_tokens(
    answers: Sequence[PromptAnswers],
    replies: Sequence[Sequence[int]],
    tokenizer: Tokenizer,
    noise: Callable[[], float],
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
        inside = at < min(len(tokens), len(reply))
        if inside and (margin := answer.greedy.margins[at]) <= (bridged := noise()):
            ties.append(NearTie(where, ours, theirs, margin, bridged))
        else:
            problems.append(f"{where}: {ours!r} instead of {theirs!r}")
    return problems, ties
