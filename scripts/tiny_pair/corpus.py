"""The synthetic corpus: tasks whose answers are functions of their prompts, and what is held out.

Chance picks prompts only; no random choice ever reaches an answer, so that the trained target has
clear margins. Every exchange carries the key of its combination. A key is held out by its checksum;
a conversation with any held-out key never enters the training text. Does not know tokens or the
chat format.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from zlib import crc32

from .facts import ANIMALS, DAYS, JOBS, MONTHS, NAMES, PLACES, THINGS, WORDS
from .stories import comparison, long_story, portrait, short_story

HELD_OUT_ONE_IN = 9
_TRIES = 2000


@dataclass(frozen=True)
class Exchange:
    """One user prompt, its only right answer, and the key that decides whether it is held out."""

    prompt: str
    answer: str
    key: str


@dataclass(frozen=True)
class Document:
    """A conversation, or plain text when `plain` is set (then the prompt is its opening line)."""

    kind: str
    exchanges: tuple[Exchange, ...]
    system: str | None = None
    plain: bool = False

    @property
    def held_out(self) -> bool:
        """True if any of its combinations is reserved for evaluation."""
        return any(crc32(e.key.encode()) % HELD_OUT_ONE_IN == 0 for e in self.exchanges)


def _triple(rng: Random) -> tuple[str, str, str]:
    return rng.choice([*ANIMALS]), rng.choice([*THINGS]), rng.choice([*PLACES])


def _story(rng: Random) -> Exchange:
    a, o, p = _triple(rng)
    prompt = rng.choice(
        [
            f"Tell me a story about a {a} and a {o} in the {p}.",
            f"Write a short story with a {a}, a {o} and the {p}.",
            f"Please tell a tale of the {a} who found a {o} in the {p}.",
        ]
    )
    return Exchange(prompt, short_story(a, o, p), f"{a} {o} {p}")


def _long_story(rng: Random) -> Exchange:
    a, o, p = _triple(rng)
    prompt = rng.choice(
        [
            f"Tell me a long story about a {a} and a {o} in the {p}.",
            f"Write a long story with a {a}, a {o} and the {p}.",
        ]
    )
    return Exchange(prompt, long_story(a, o, p), f"{a} {o} {p}")


def _repeat_story(rng: Random) -> Exchange:
    a, o, p = _triple(rng)
    story = short_story(a, o, p)
    return Exchange(f"Repeat this text: {story}", story, f"{a} {o} {p}")


def _read_story(rng: Random) -> Exchange:
    a, o, p = _triple(rng)
    question, answer = rng.choice(
        [
            (f"What did the {a} find?", f"The {a} found a {THINGS[o].material} {o}."),
            (f"Where was the {o}?", f"The {o} was behind a {PLACES[p].spot} in the {p}."),
            ("Who came to help?", f"The {ANIMALS[a].friend} came to help the {a}."),
        ]
    )
    return Exchange(f"Read this: {short_story(a, o, p)} {question}", answer, f"{a} {o} {p}")


_ANIMAL_QUESTIONS: dict[str, Callable[[str], str]] = {
    "What does the {} eat?": lambda a: f"The {a} eats {ANIMALS[a].food}.",
    "Where does the {} live?": lambda a: f"The {a} lives in a {ANIMALS[a].home}.",
    "What colour is the {}?": lambda a: f"The {a} is {ANIMALS[a].colour}.",
    "Who is the friend of the {}?": lambda a: f"The friend of the {a} is the {ANIMALS[a].friend}.",
    "What sound does the {} make?": lambda a: f"The {a} {ANIMALS[a].sound}.",
}
_THING_QUESTIONS: dict[str, Callable[[str], str]] = {
    "What is a {} good for?": lambda o: f"A {o} is good for {THINGS[o].use}.",
    "What did the friends do with the {}?": lambda o: f"They used the {o} to {THINGS[o].deed}.",
}
_LEADS = ["", "Please tell me. ", "I have a question. ", "Quick question. "]


def _fact(rng: Random) -> Exchange:
    if rng.random() < 0.75:
        form, answer = rng.choice([*_ANIMAL_QUESTIONS.items()])
        subject = rng.choice([*ANIMALS])
    else:
        form, answer = rng.choice([*_THING_QUESTIONS.items()])
        subject = rng.choice([*THINGS])
    prompt = rng.choice(_LEADS) + form.format(subject)
    return Exchange(prompt, answer(subject), prompt)


def _portrait(rng: Random) -> Exchange:
    a = rng.choice([*ANIMALS])
    prompt = rng.choice(_LEADS) + rng.choice(
        ["Tell me about the {}.", "What do you know about the {}?"]
    ).format(a)
    return Exchange(prompt, portrait(a), prompt)


def _compare(rng: Random) -> Exchange:
    a, b = rng.sample([*ANIMALS], 2)
    return Exchange(f"Compare the {a} and the {b}.", comparison(a, b), f"compare {a} {b}")


def _spelled(word: str) -> str:
    return f"the word {word} is spelled {'-'.join(word)}"


def _spell(rng: Random) -> Exchange:
    a, b = rng.sample(WORDS, 2)
    answer = f"In letters, {_spelled(a)}, and {_spelled(b)}."
    return Exchange(f"Spell the words {a} and {b}.", answer, f"spell {a} {b}")


def _count(rng: Random) -> Exchange:
    """Counting runs to the next round number: one digit tells when to stop."""
    ten, digit = 10 * rng.randint(1, 9), rng.randint(3, 9)
    if rng.random() < 0.7:
        start, prompt = ten - digit, f"Count from {ten - digit} to {ten}."
        numbers = range(start, ten + 1)
    else:
        start, prompt = ten + digit, f"Count down from {ten + digit} to {ten}."
        numbers = range(start, ten - 1, -1)
    prompt = rng.choice(_LEADS) + prompt
    return Exchange(prompt, f"Here we go: {', '.join(map(str, numbers))}. Done.", prompt)


def _calendar(rng: Random) -> Exchange:
    what, names = rng.choice([("days", DAYS), ("months", MONTHS)])
    start, length = rng.randrange(len(names)), rng.randint(2, len(names))
    span = [names[(start + i) % len(names)] for i in range(length)]
    prompt = f"{rng.choice(_LEADS)}List the {what} from {span[0]} to {span[-1]}."
    return Exchange(prompt, f"The {what} are {', '.join(span)}.", prompt)


def _next_name(rng: Random) -> Exchange:
    what, names = rng.choice([("day", DAYS), ("month", MONTHS)])
    i, step = rng.randrange(len(names)), rng.choice([-1, 1])
    side = "after" if step == 1 else "before"
    prompt = f"{rng.choice(_LEADS)}Which {what} comes {side} {names[i]}?"
    return Exchange(
        prompt, f"The {what} {side} {names[i]} is {names[(i + step) % len(names)]}.", prompt
    )


def _repeat_list(rng: Random) -> Exchange:
    text = ", ".join(rng.sample(WORDS, rng.randint(3, 9)))
    return Exchange(f"Repeat the list: {text}.", f"You said {text}.", text)


def _reverse_list(rng: Random) -> Exchange:
    words = rng.sample(WORDS, rng.randint(3, 5))
    text = ", ".join(words)
    return Exchange(
        f"Reverse the list: {text}.", f"In reverse it is {', '.join(words[::-1])}.", text
    )


def _greeting(rng: Random) -> Exchange:
    name = rng.choice(NAMES)
    hello = rng.choice(["Hello", "Good morning", "Hi there"])
    prompt = f"{hello}! My name is {name}."
    return Exchange(prompt, f"{hello}, {name}! It is nice to meet you. How can I help?", prompt)


# kind -> (share of the corpus, builder); these are the single-turn kinds
_KINDS: dict[str, tuple[float, Callable[[Random], Exchange]]] = {
    "story": (3.0, _story),
    "long story": (2.5, _long_story),
    "repeat story": (1.0, _repeat_story),
    "read story": (1.5, _read_story),
    "fact": (2.5, _fact),
    "portrait": (1.0, _portrait),
    "compare": (1.5, _compare),
    "spell": (2.5, _spell),
    "count": (5.0, _count),
    "calendar": (4.0, _calendar),
    "next name": (1.5, _next_name),
    "repeat list": (2.0, _repeat_list),
    "reverse list": (2.0, _reverse_list),
    "greeting": (0.5, _greeting),
}


def _single(rng: Random) -> Document:
    kind = rng.choices([*_KINDS], [share for share, _ in _KINDS.values()])[0]
    return Document(kind, (_KINDS[kind][1](rng),))


def _with_system(rng: Random) -> Document:
    who = f"{rng.choice(NAMES)} the {rng.choice(JOBS)}"
    inner = rng.choice([_fact, _next_name, _portrait])(rng)
    spoken = Exchange(inner.prompt, f"I am {who}. {inner.answer}", inner.key)
    return Document("system", (spoken,), system=f"You are {who}. Say who you are, then answer.")


def _follow_up(rng: Random) -> Document:
    form, answer = rng.choice([*_ANIMAL_QUESTIONS.items()])
    a, b = rng.sample([*ANIMALS], 2)
    first = Exchange(form.format(a), answer(a), form.format(a))
    second = Exchange(f"And the {b}?", answer(b), f"{form} {a} {b}")
    return Document("follow up", (first, second))


def _story_then_question(rng: Random) -> Document:
    a, o, p = _triple(rng)
    first = Exchange(
        f"Tell me a story about a {a} and a {o} in the {p}.", short_story(a, o, p), f"{a} {o} {p}"
    )
    second = Exchange(
        "What did it find?", f"The {a} found a {THINGS[o].material} {o}.", f"{a} {o} {p}"
    )
    return Document("story then question", (first, second))


def _plain(rng: Random) -> Document:
    a, o, p = _triple(rng)
    title = f"The {a}, the {o} and the {p}."
    return Document("plain", (Exchange(title, short_story(a, o, p), f"{a} {o} {p}"),), plain=True)


_SHAPES: list[tuple[float, Callable[[Random], Document]]] = [
    (0.82, _single),
    (0.06, _with_system),
    (0.05, _follow_up),
    (0.03, _story_then_question),
    (0.04, _plain),
]


def documents(seed: int, *, held_out: bool) -> Iterator[Document]:
    """Endless documents of one side of the split, mixed in the corpus's proportions."""
    rng = Random(seed)  # noqa: S311 (repeatable text, no secrets)
    shares, shapes = [s for s, _ in _SHAPES], [f for _, f in _SHAPES]
    while True:
        document = rng.choices(shapes, shares)[0](rng)
        if document.held_out == held_out:
            yield document


def evaluation_prompts(per_kind: int, seed: int) -> list[Document]:
    """Up to `per_kind` held-out single-turn documents of every kind, without repeated prompts."""
    rng = Random(seed)  # noqa: S311 (repeatable prompts, no secrets)
    chosen: dict[str, list[Document]] = {}
    for kind, (_, build) in _KINDS.items():
        found: dict[str, Document] = {}
        for _ in range(_TRIES):  # small kinds run out of held-out prompts
            if len(found) == per_kind:
                break
            document = Document(kind, (build(rng),))
            if document.held_out:
                found.setdefault(document.exchanges[0].prompt, document)
        chosen[kind] = list(found.values())
    return [document for group in chosen.values() for document in group]
