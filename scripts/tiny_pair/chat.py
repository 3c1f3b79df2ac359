"""The chat format of Gemma 4 and the tiny tokenizer in the structure of Gemma's.

Knows special ids, the Jinja template, BPE training, and which tokens of a document are answers.
Does not know models.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pair_parts import BOS, CONTENT_TEMPLATE, NAMED_TOKENS, UNK
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from .corpus import Document

VOCABULARY = 2048
FIRST_BYTE = 107
FIRST_PIECE = FIRST_BYTE + 256
SPECIAL_TOKENS = [NAMED_TOKENS.get(i, f"<unused{i}>") for i in range(FIRST_BYTE)]

CHAT_TEMPLATE = f"""\
{{{{ bos_token }}}}
{{%- for message in messages -%}}
{{%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}}
{{{{ '<|turn>' + role + '\\n' }}}}
{CONTENT_TEMPLATE}\
{{{{ '<turn|>\\n' }}}}
{{%- endfor -%}}
{{%- if add_generation_prompt -%}}
{{{{ '<|turn>model\\n' }}}}
{{%- endif -%}}
"""

# A word with its leading space mark, a digit, a newline, or one other character: no piece crosses.
_WORD = "▁?[A-Za-z]+|[0-9]|\\n|▁|[^A-Za-z0-9▁\\n]"


@dataclass(frozen=True)
class TextSpan:
    """A stretch of text and whether the model is trained to produce it."""

    text: str
    is_answer: bool


def spans(document: Document) -> list[TextSpan]:
    """The document in chat format, cut at the borders of the answers."""
    if document.plain:
        (only,) = document.exchanges
        return [TextSpan(f"<bos>{only.prompt}\n", False), TextSpan(f"{only.answer}<eos>", True)]
    parts = [TextSpan("<bos>", False)]
    if document.system is not None:
        parts.append(TextSpan(f"<|turn>system\n{document.system}<turn|>\n", False))
    for exchange in document.exchanges:
        parts.append(TextSpan(f"<|turn>user\n{exchange.prompt}<turn|>\n<|turn>model\n", False))
        parts.append(TextSpan(f"{exchange.answer}<turn|>", True))
        parts.append(TextSpan("\n", False))
    return parts


def _learn_pieces(
    texts: Iterable[str], vocabulary_size: int, word: str
) -> tuple[list[str], list[tuple[str, str]]]:
    """Alphabet plus merged pieces, and the merges, in order of learning."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(word), "isolated")
    ascii_letters = [chr(c) for c in range(33, 127)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - FIRST_PIECE,
        min_frequency=2,
        initial_alphabet=[*ascii_letters, "▁", "\n"],
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    vocabulary: dict[str, int] = learner.get_vocab()
    pieces = sorted(vocabulary, key=vocabulary.__getitem__)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return pieces, [(left, right) for left, right in merges]


def build_tokenizer(texts: Iterable[str], size: int = VOCABULARY, word: str = _WORD) -> Tokenizer:
    """Byte-fallback BPE laid out like Gemma's: specials, bytes, then pieces from `texts`.

    Args:
        texts: What to learn from.
        size: Of the vocabulary.
        word: Pattern of the stretches of text that no piece crosses, spaces written as "▁".
    """
    pieces, merges = _learn_pieces(texts, size, word)
    tokens = [*SPECIAL_TOKENS, *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    tokens += [f"<unused{i}>" for i in range(len(tokens), size)]
    tokenizer = assembled(tokens, merges, FIRST_BYTE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    return tokenizer


def assembled(
    tokens: list[str], merges: list[tuple[str, str]], specials: int, *, ignore_merges: bool = False
) -> Tokenizer:
    """A tokenizer of these tokens, the first ``specials`` of them special, but for where it splits texts."""
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=merges,
            unk_token=NAMED_TOKENS[UNK],
            fuse_unk=True,
            byte_fallback=True,
            ignore_merges=ignore_merges,
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in tokens[:specials]]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", BOS)]
    )
    return tokenizer


@dataclass(frozen=True)
class Encoded:
    """Token ids of one document, and for each token whether it belongs to an answer."""

    ids: list[int]
    is_answer: list[bool]


def encode(tokenizer: Tokenizer, document: Document) -> Encoded:
    """Tokens of a document; the same as tokenizing its whole text, since no merge crosses spans."""
    return encode_spans(tokenizer, spans(document))


def encode_spans(tokenizer: Tokenizer, parts: Iterable[TextSpan]) -> Encoded:
    """Tokens of a text that is cut at the borders of the answers."""
    ids: list[int] = []
    flags: list[bool] = []
    for span in parts:
        piece = tokenizer.encode(span.text, add_special_tokens=False).ids
        ids += piece
        flags += [span.is_answer] * len(piece)
    return Encoded(ids, flags)
