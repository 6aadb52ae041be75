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
from muomni_datasets.stories import QUESTIONS
from muomni_datasets.story_plots import PLOTS, StoryRandom
from muomni_datasets.text import GeneratedSource, content_key

WRITTEN = Path(__file__).parent / "texts" / "small_talk.toml"
SLOT = re.compile(r"\{(\w+)\}")
SIGNS = {"+": ("plus", "+", "and"), "-": ("minus", "-"), "*": ("times", "*", "x")}
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
class Written:
    """The content of :data:`WRITTEN`."""

    acts: Sequence[Act]
    named: Mapping[str, Act]
    slots: Mapping[str, Sequence[str]]
    facts: Sequence[tuple[tuple[str, ...], str]]


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
    return Written(acts, named, slots, facts)


def added(rng: StoryRandom) -> tuple[str, str]:
    """A sum, a difference or a product of small numbers."""
    sign = rng.one(["+", "+", "+", "-", "*"])
    first, second = (1 + rng.below(10 if sign == "*" else 20) for _ in range(2))
    if sign == "-":
        first, second = max(first, second), min(first, second)
    result = {"+": first + second, "-": first - second, "*": first * second}[sign]
    said = rng.one(SIGNS[sign])
    question = rng.one(["What is {}?", "What's {}?", "How much is {}?", "{}", "{} = ?", "{}=", "Calculate {}", "{}?"])
    between = "" if said in "+-*" and rng.below(2) else " "
    return (
        question.format(f"{first}{between}{said}{between}{second}"),
        f"{first} {SIGNS[sign][0]} {second} is {result}.",
    )


def typed(text: str, rng: StoryRandom) -> str:
    """A text as people type: often in lower case or without its last stop, now and then in capitals or mistyped."""
    if rng.below(100) < 35:
        text = text.rstrip(".!?") or text
    if (how := rng.below(100)) < 35:
        text = text.lower()
    elif how < 38:
        text = text.upper()
    if len(text) > 5 and rng.below(100) < 6:
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
        for _ in range(1 + rng.one([0, 0, 0, 1, 1, 2, 3])):
            draw = rng.between(0, 1)
            if last is not None and last.then and rng.below(3):
                act: Act | None = known.named[rng.one(last.then)]
            elif draw < self._config.facts + self._config.people:
                act = None
            else:
                act = _heaviest(known.acts, rng)
            if act is not None:
                question, answer = _said(act, name, rng)
            elif draw < self._config.people:
                question = rng.one(people_said())
                answer = reaction(question)
            else:
                question, answer = _fact(rng)
            last = act
            messages += [Message("user", typed(question, rng)), Message("assistant", answer)]
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


def _said(act: Act, name: str, rng: StoryRandom) -> tuple[str, str]:
    slots = {key: rng.one(values) for key, values in written().slots.items()} | {"name": name}
    question = SLOT.sub(lambda slot: slots[slot[1]], rng.one(act.user))
    if not act.answers:
        return question, rng.one(PLOTS)(rng)
    return question, SLOT.sub(lambda slot: slots[slot[1]], rng.one(act.answers))


def _fact(rng: StoryRandom) -> tuple[str, str]:
    """A sum, a simple fact, or a question about a little story."""
    which = rng.below(3)
    if which == 0:
        return added(rng)
    if which == 1:
        return rng.one(QUESTIONS)(rng)
    questions, answer = rng.one(written().facts)
    return rng.one(questions), answer
