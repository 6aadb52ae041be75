# ruff: noqa: SIM905 (lists of words are easier to read and extend as text)

"""Generated small talk: greetings, questions about the model itself, simple facts and sums, and honest answers to what
a tiny model cannot know or do. What is said stands in ``texts/small_talk.toml``.

Conversation ``i`` depends only on the settings and ``i``, so a larger count never changes the first ones.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from muomni_cli.api import Conversation, Document, Message, RequestError
from muomni_datasets.config import SmallTalkConfig
from muomni_datasets.stories import QUESTIONS, Asked
from muomni_datasets.story_plots import PLOTS, StoryRandom
from muomni_datasets.text import GeneratedSource, content_key

WRITTEN = Path(__file__).parent / "texts" / "small_talk.toml"
SLOT = re.compile(r"\{(\w+)\}")
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
GOING_ON = {
    "+": ("And plus {}?", "And if you add {}?", "Add {} to that", "plus {}?", "And {} more?", "Now add {}"),
    "-": ("And minus {}?", "And if you take away {}?", "Take {} from that", "minus {}?", "And {} less?"),
    "*": ("And times {}?", "Now times {}", "And if you multiply that by {}?", "times {}?"),
}
GREETED = ("hi", "hey", "hello", "good", "yo", "ok", "oh", "so ", "and ")
OPENERS = "Hey,|Hi,|Hello,|OK,|So,|Um,|Well,|Oh,|And|Hey nano,|Excuse me,|ok so".split("|")
CLOSERS = " please| pls| now|, please| :)| lol|!!|!|...| nano| then| ok| thanks| haha|, ok".split("|")
MARKS = ("?", "!", " :)", " please", " thanks", "??", " nano")
CAPITALS = ("I", "I'm", "I've", "I'd", "I'll")
SIGNS = {"+": ("plus", "+", "and"), "-": ("minus", "-"), "*": ("times", "*", "x")}
REMEMBERED = 8  # of a hundred conversations: those in which a person asks about what they told
PEOPLE = "chitchat_dataset"  # module of the package with people's messages
SAYABLE = re.compile(r"[A-Za-z][A-Za-z ,.'?!]{6,69}")
NAMED = re.compile(r"\b(?:name|names|named|call me|i'?m [A-Z]|i am [A-Z])\b", re.IGNORECASE)
GOOD = frozenset("love like great good nice happy fun awesome cool glad excited beautiful enjoy favorite best".split())
BAD = frozenset("sad sick tired hate bad died hard sorry terrible lost worried stressed angry hurt awful alone".split())


@dataclass(frozen=True, slots=True)
class Act:
    """What a person may say and what is answered, in any of several phrasings."""

    user: tuple[str, ...]
    answers: tuple[str, ...]
    weight: float
    then: tuple[str, ...]
    story: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """What a person tells, and later asks about, in any of several phrasings; the slots are the same in all."""

    told: tuple[str, ...]
    reaction: str
    asked: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Written:
    """The content of :data:`WRITTEN`."""

    acts: Sequence[Act]
    named: Mapping[str, Act]
    slots: Mapping[str, Sequence[str]]
    facts: Sequence[tuple[tuple[str, ...], str]]
    memories: Sequence[Memory]


@cache
def written() -> Written:
    table = tomllib.loads(WRITTEN.read_text("utf-8"))
    slots = {key: values.split("|" if "|" in values else None) for key, values in table["slots"].items()}
    acts, named = [], {}
    for entry in table["acts"]:
        act = Act(
            tuple(entry["user"].strip().splitlines()),
            tuple(entry.get("answer", "").strip().splitlines()),
            entry.get("weight", 1),
            tuple(entry.get("then", ())),
            entry.get("story", False),
        )
        if not entry.get("only_then"):
            acts.append(act)
        if name := entry.get("name"):
            named[name] = act
    facts = []
    for line in "\n".join(entry["lines"].strip() for entry in table["facts"]).splitlines():
        questions, _, answer = line.partition(" = ")
        facts.append((tuple(questions.split(" / ")), answer))
    memories = [
        Memory(
            tuple(entry["told"].strip().splitlines()),
            entry["reaction"],
            tuple(entry["asked"].strip().splitlines()),
            entry["answer"],
        )
        for entry in table["memories"]
    ]
    return Written(acts, named, slots, facts, memories)


def added(rng: StoryRandom) -> tuple[str, str, int]:
    """A sum, a difference or a product of small numbers, and its result. Most are of numbers up to ten."""
    sign = rng.one(["+", "+", "+", "-", "-", "*"])
    most = 10 if sign == "*" or rng.below(3) else 20
    first, second = (1 + rng.below(most) for _ in range(2))
    if sign == "-":
        first, second = max(first, second), min(first, second)
    result = calculated(first, sign, second)
    said = rng.one(SIGNS[sign])
    question = rng.one(["What is {}?", "What's {}?", "How much is {}?", "{}", "{} = ?", "{}=", "Calculate {}", "{}?"])
    between = "" if said in "+-*" and rng.below(2) else " "
    if said.isalpha() and rng.below(2):
        return question.format(f"{NUMBERS[first]} {said} {NUMBERS[second]}"), told(first, sign, second), result
    return question.format(f"{first}{between}{said}{between}{second}"), told(first, sign, second), result


def continued(before: int, rng: StoryRandom) -> tuple[str, str]:
    """A question that goes on from the result before."""
    sign = rng.one(["+", "+", "-", "*"]) if before <= 20 else "-"
    second = 1 + rng.below(max(1, min(before, 3 if sign == "*" else 10)))
    number = str(second) if rng.below(2) else NUMBERS[second]
    return rng.one(GOING_ON[sign]).format(number), told(before, sign, second)


def calculated(first: int, sign: str, second: int) -> int:
    return {"+": first + second, "-": first - second, "*": first * second}[sign]


def told(first: int, sign: str, second: int) -> str:
    """The answer with the result."""
    return f"{first} {SIGNS[sign][0]} {second} is {calculated(first, sign, second)}."


def dressed(text: str, rng: StoryRandom) -> str:
    """A text with what people put before and after what they say, now and then."""
    chance = rng.below(100)
    if chance < 8 and not text.lower().startswith(GREETED):
        begin = rng.one(OPENERS)
        kept = text.split(maxsplit=1)[0] in CAPITALS or text[:2].isupper()
        text = f"{begin} {text if kept else text[:1].lower() + text[1:]}"
    elif chance < 16:
        text = f"{text.rstrip('.')}{rng.one(CLOSERS)}" if text[-1:].isalpha() else f"{text}{rng.one(MARKS)}"
    return text


def typed(text: str, rng: StoryRandom) -> str:
    """A text as people type: often in lower case or without its last stop, now and then in capitals or mistyped."""
    text = dressed(text, rng) if re.search("[A-Za-z]{2}", text) else text
    if rng.below(100) < 35:
        text = text.rstrip(".!?") or text
    if (how := rng.below(100)) < 35:
        text = text.lower()
    elif how < 38:
        text = text.upper()
    for _ in range(rng.one([0] * 30 + [1, 1, 3]) if len(text) > 5 else 0):
        place = 1 + rng.below(len(text) - 3)
        pair = text[place : place + 2]
        text = text[:place] + rng.one([pair[::-1], pair[0], pair[0] + pair]) + text[place + 2 :]
    return text


def reaction(said: str) -> str:
    """An answer to anything that people may say: to a question, to good or bad news, to the rest."""
    words = set(re.findall(r"[a-z]+", said.lower()))
    if said.endswith("?"):
        return "I am not sure. I know only very simple things."
    if words & BAD:
        return "I am sorry to hear that."
    if words & GOOD:
        return "That sounds nice. Tell me more about it."
    return "I see. Tell me more about it."


@cache
def people_said() -> tuple[str, ...]:
    """Messages of the package chitchat-dataset (MIT), without who wrote them and when, and without any with a name in
    it. RequestError if it is not installed."""
    found = importlib.util.find_spec(PEOPLE)
    if found is None or found.origin is None:
        raise RequestError(
            "the small talk of people is in the Python package chitchat-dataset, which is not installed",
            "pip install 'muomni[chitchat]', or set people = 0",
        )
    table = json.loads((Path(found.origin).parent / "dataset.json").read_text("utf-8"))
    texts = (
        message["text"].strip()
        for talk in table.values()
        for turns in talk["messages"]
        for message in turns
        if "text" in message
    )
    return tuple(dict.fromkeys(text for text in texts if SAYABLE.fullmatch(text) and not NAMED.search(text)))


class SmallTalk(GeneratedSource):
    """A source of conversations of one to four questions."""

    def __init__(self, config: SmallTalkConfig) -> None:
        self._config = config

    def documents(self) -> Iterator[Document | Conversation]:
        for index in range(self._config.count):
            yield self._conversation(StoryRandom(f"small-talk/{self._config.seed}/{index}"))

    def _conversation(self, rng: StoryRandom) -> Conversation:
        known = written()
        messages: list[Message] = []
        name = rng.one(known.slots["name"])
        last: Act | None = None
        remembered = _remembered(rng) if rng.below(100) < REMEMBERED else []
        for _ in range(1 + rng.one([0, 0, 0, 1, 1, 2, 3])):
            if remembered and rng.below(2):
                messages += _typed(remembered.pop(0), rng)
                last = None
                continue
            draw = rng.between(0, 1)
            if last is not None and last.then and rng.below(3):
                act: Act | None = known.named[rng.one(last.then)]
            elif draw < self._config.facts + self._config.people:
                act = None
            else:
                act = _heaviest(known.acts, rng)
            if act is not None:
                asked = [_said(act, name, rng, messages)]
            elif draw < self._config.people:
                question = rng.one(people_said())
                asked = [(question, reaction(question))]
            else:
                asked = _facts(rng)
            last = act
            for one in asked:
                messages += _typed(one, rng)
        for one in remembered:
            messages += _typed(one, rng)
        key = content_key(*(message.text for message in messages))
        return Conversation(tuple(messages), key, source="small-talk")


def _heaviest(acts: Sequence[Act], rng: StoryRandom) -> Act:
    """An act, drawn by weight."""
    place = rng.between(0, sum(act.weight for act in acts))
    for act in acts:
        place -= act.weight
        if place <= 0:
            return act
    return acts[-1]


def _typed(asked: Asked, rng: StoryRandom) -> list[Message]:
    return [Message("user", typed(asked[0], rng)), Message("assistant", asked[1])]


def _said(act: Act, name: str, rng: StoryRandom, before: Sequence[Message]) -> Asked:
    """A question and an answer that the conversation does not have yet, if there is one."""
    slots = {key: rng.one(values) for key, values in written().slots.items()} | {"name": name}
    question = SLOT.sub(lambda slot: slots[slot[1]], rng.one(act.user))
    if not act.answers:
        return question, rng.one(PLOTS)(rng)
    given = {message.text for message in before}
    answers = [SLOT.sub(lambda slot: slots[slot[1]], answer) for answer in act.answers]
    return question, rng.one([answer for answer in answers if answer not in given] or answers)


def _remembered(rng: StoryRandom) -> list[Asked]:
    """What a person tells, and a question about it."""
    memory = rng.one(written().memories)
    slots = {key: rng.one(values) for key, values in written().slots.items()}
    texts = (rng.one(memory.told), memory.reaction, rng.one(memory.asked), memory.answer)
    said, reacted, asked, answer = (SLOT.sub(lambda slot: slots[slot[1]], text) for text in texts)
    return [(said, reacted), (asked, answer)]


def _facts(rng: StoryRandom) -> list[Asked]:
    """A sum, often with another one that goes on from it; a simple fact; or a question about a little story."""
    which = rng.below(5)
    if which < 2:
        question, answer, result = added(rng)
        return [(question, answer), *([continued(result, rng)] if rng.below(4) == 0 and result > 1 else [])]
    if which == 2:
        return [rng.one(QUESTIONS)(rng)]
    questions, answer = rng.one(written().facts)
    return [(rng.one(questions), answer)]
