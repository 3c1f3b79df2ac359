"""Conversations with a weather tool and with thoughts, in Gemma 4's format, whose answers follow from them.

Chance picks the prompts and what the tool returns; every answer is a function of what stands before it. Does
not know models.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from zlib import crc32

from transformers import PreTrainedTokenizerFast

from .chat import Encoded, TextSpan, encode, encode_spans
from .corpus import HELD_OUT_ONE_IN, Exchange, documents

CITIES = ["Rome", "Oslo", "Lima", "York", "Ghent", "Essen", "Quito", "Vigo"]
"""Each of three tokens, the same ones after a space and after a quote: so calling is copying."""

SKIES = [
    "sunny", "rainy", "clear", "foggy", "stormy", "hot", "windy", "dry", "warm", "wet", "dark", "grey",
]  # fmt: skip

WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}

QUESTIONS = [
    "What is the weather in {} for {} days?",
    "How is the weather in {} for {} days?",
    "Tell me the weather in {} for {} days.",
]

THOUGHT, THOUGHT_END = "<|channel>thought\n", "\n<channel|>"
WAITS = "<|tool_response>"
OTHERS = ("fact", "next name", "greeting")
"""Kinds of the corpus's exchanges that take turns with the weather."""


@dataclass(frozen=True)
class Weather:
    """A question about the weather, what the tool returns, and what is then right."""

    city: str
    days: int
    question: str
    result: str
    """As the template prints it."""
    answer: str

    @property
    def held_out(self) -> bool:
        """Whether this city with this number of days is kept for evaluation."""
        return crc32(f"{self.city} {self.days}".encode()) % HELD_OUT_ONE_IN == 0

    @property
    def call(self) -> str:
        """What the model says first; it then waits for the tool."""
        return f'<|tool_call>call:get_weather{{city:<|"|>{self.city}<|"|>,days:{self.days}}}<tool_call|>'

    @property
    def response(self) -> str:
        """The tool's turn."""
        return f"<|tool_response>response:get_weather{{{self.result}}}<tool_response|>"


def some_weather(rng: Random) -> Weather:
    """A mapping of two values or a plain string comes back."""
    city, days = rng.choice(CITIES), rng.randint(2, 9)
    sky, degrees = rng.choice(SKIES), rng.randint(10, 39)
    question = rng.choice(QUESTIONS).format(city, days)
    if rng.random() < 0.5:
        result, answer = f'value:<|"|>{sky}<|"|>', f"It is {sky}."
    else:
        result = f'degrees:{degrees},sky:<|"|>{sky}<|"|>'
        answer = f"It is {sky} with {degrees} degrees."
    return Weather(city, days, question, result, answer)


@dataclass(frozen=True)
class TalkSetting:
    """What holds for a whole conversation."""

    tools: bool
    thinking: bool
    live: bool
    """Whether the text is what the engine's cache may hold of a conversation that goes on: thoughts stay, no
    newline follows an answer, and the token at which it waited for the tool stands there twice. In a
    conversation that was recreated from its messages there are no thoughts but the last."""


class Conversations:
    """An endless stream of them, from one side of the split.

    Args:
        tokenizer: With the chat template.
        seed: Of everything.
        held_out: The side.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int, *, held_out: bool) -> None:
        self._tokenizer = tokenizer
        self._rng = Random(seed)  # noqa: S311 (repeatable text, no secrets)
        self._held_out = held_out
        self._corpus = documents(seed, held_out=held_out)

    def next(self) -> list[TextSpan]:
        """A conversation of any setting and one or two questions, cut at the borders of the answers."""
        tools, thinking = self._rng.choice(
            [(True, False), (True, False), (True, True), (True, True), (False, True)]
        )
        setting = TalkSetting(tools, thinking, live=self._rng.random() < 0.5)
        return self.talk(
            setting, [self._rng.random() < 0.6 for _ in range(self._rng.choice([1, 1, 2]))]
        )

    def talk(self, setting: TalkSetting, about_weather: list[bool]) -> list[TextSpan]:
        """A conversation with a question for each of ``about_weather``, about it or about something else."""
        parts: list[TextSpan] = []
        for number, weather in enumerate(about_weather, start=1):
            build = self._weather if weather and setting.tools else self._other
            parts += build(
                setting, first=not parts, shown=setting.live or number == len(about_weather)
            )
        return parts

    def _asked(self, setting: TalkSetting, prompt: str, *, first: bool) -> TextSpan:
        if not first:
            newline = "" if setting.live else "\n"
            return TextSpan(
                f"{newline}<|turn>user\n{prompt}<turn|>\n<|turn>model\n", is_answer=False
            )
        opening = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            tools=[WEATHER_TOOL] if setting.tools else None,
            enable_thinking=setting.thinking,
            add_generation_prompt=True,
            tokenize=False,
        )
        return TextSpan(str(opening), is_answer=False)

    def _weather(self, setting: TalkSetting, *, first: bool, shown: bool) -> Iterator[TextSpan]:
        weather = self._some_weather()
        call_shown = shown and (setting.live or self._rng.random() < 0.5)
        yield self._asked(setting, weather.question, first=first)
        yield from _said(
            setting,
            f"{THOUGHT}I need the weather.{THOUGHT_END}",
            weather.call + WAITS,
            shown=call_shown,
        )
        if setting.live:
            yield TextSpan(WAITS, is_answer=False)
        yield TextSpan(weather.response.removeprefix(WAITS), is_answer=False)
        if setting.thinking and shown:
            yield TextSpan(THOUGHT, is_answer=False)
        yield from _said(
            setting, f"Now I know it.{THOUGHT_END}", f"{weather.answer}<turn|>", shown=shown
        )

    def _some_weather(self) -> Weather:
        weather = some_weather(self._rng)
        while weather.held_out != self._held_out:
            weather = some_weather(self._rng)
        return weather

    def _other(self, setting: TalkSetting, *, first: bool, shown: bool) -> Iterator[TextSpan]:
        exchange = self._exchange()
        yield self._asked(setting, exchange.prompt, first=first)
        yield from _said(
            setting, f"{THOUGHT}I know this.{THOUGHT_END}", f"{exchange.answer}<turn|>", shown=shown
        )

    def _exchange(self) -> Exchange:
        return next(d for d in self._corpus if d.kind in OTHERS).exchanges[0]


def _said(setting: TalkSetting, thought: str, answer: str, *, shown: bool) -> Iterator[TextSpan]:
    """An answer; where its thought is no longer there, it is not one to learn from."""
    if setting.thinking and not shown:
        yield TextSpan(answer, is_answer=False)
    else:
        yield TextSpan((thought if setting.thinking else "") + answer, is_answer=True)


def training_documents(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Encoded]:
    """Conversations with tools and thoughts, and half as many of the corpus, so that nothing is unlearned."""
    own = Conversations(tokenizer, seed, held_out=False)
    for document in documents(seed + 1, held_out=False):
        yield encode(tokenizer.backend_tokenizer, document)
        yield encode_spans(tokenizer.backend_tokenizer, own.next())
        yield encode_spans(tokenizer.backend_tokenizer, own.next())
