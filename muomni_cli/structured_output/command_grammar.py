"""Grammars of spoken commands: what may be said, and what a program gets of it.

A grammar is a TOML or JSON file with patterns of each intent, phrases, and slots with their values (see
``docs/tutorials/commands-of-your-own.md``). The same file gives the texts of training and what recognition looks for.
"""

from __future__ import annotations

import json
import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MOST_BYTES = 1 << 20  # of a grammar's file
DEEPEST = 20  # phrases within phrases
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TOKEN = re.compile(r"\s*(?:(\{[^{}<>]*\})|(<[^{}<>]*>)|([\[\]()|])|([^\s\[\](){}<>|]+))")
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")

Pattern = Annotated[str, Field(min_length=1, max_length=2000)]


@dataclass(frozen=True, slots=True)
class Word:
    """One word, in lower case."""

    text: str


@dataclass(frozen=True, slots=True)
class SlotName:
    """A place where a value of a slot is said."""

    name: str


@dataclass(frozen=True, slots=True)
class InOrder:
    """Parts one after the other."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several; an empty :class:`InOrder` among them can be left out."""

    options: tuple[Node, ...]


Node = Word | SlotName | InOrder | Choice
NOTHING = InOrder(())


@dataclass(frozen=True, slots=True)
class Command:
    """What a program gets: the intent, None where there was no command, and the slots that were said."""

    intent: str | None
    slots: Mapping[str, str]

    def json(self) -> str:
        """One line of JSON."""
        found = {"intent": self.intent, "slots": dict(self.slots)}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


class CommandGrammar(BaseModel):
    """A grammar as its file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field("en", description="language of the words, for people who read the file")
    intents: dict[str, Annotated[tuple[Pattern, ...], Field(min_length=1)]] = Field(
        {}, description="patterns of each intent"
    )
    phrases: dict[str, Annotated[tuple[Pattern, ...], Field(min_length=1)]] = Field(
        {}, description="patterns by name, for <name> in others"
    )
    slots: dict[str, Annotated[tuple[Pattern, ...], Field(min_length=1)]] = Field(
        {}, description="values of each slot, for {name} in patterns"
    )
    spoken: dict[str, dict[str, tuple[Pattern, ...]]] = Field({}, description="slot -> value -> other ways to say it")

    @model_validator(mode="after")
    def _holds_together(self) -> CommandGrammar:
        if not self.intents:
            raise ValueError("it has no intent: write a table [intents] with patterns")
        for name in (*self.intents, *self.phrases, *self.slots):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name: use letters, digits and _")
        for name, values in self.slots.items():
            if twice := {value for value in values if values.count(value) > 1}:
                raise ValueError(f"slot {name} has the value {min(twice)!r} more than once")
            for value in values:
                if not words_of(value):
                    raise ValueError(f"slot {name} has a value without words: {value!r}")
        for name, others in self.spoken.items():
            unknown = sorted(set(others) - set(self.slots.get(name, ())))
            if unknown:
                raise ValueError(f"spoken.{name} names {unknown[0]!r}, which is no value of slots.{name}")
        for intent in self.intents:
            self.tree(intent)
        for phrase in self.phrases:
            _parsed(self, f"<{phrase}>", f"phrases.{phrase}", ())
        return self

    def tree(self, intent: str) -> Node:
        """What may be said for an intent, with phrases in place. ValueError for a mistake in a pattern."""
        return Choice(tuple(_parsed(self, pattern, f"intents.{intent}", ()) for pattern in self.intents[intent]))

    def ways(self, slot: str) -> Iterator[tuple[str, list[str]]]:
        """Values of a slot, each with the words of one way to say it."""
        for value in self.slots[slot]:
            for said in (value, *self.spoken.get(slot, {}).get(value, ())):
                yield value, words_of(said)

    def sentence(self, rng: random.Random) -> tuple[str, Command]:
        """A random sentence that says no slot twice, and what it means. What may be left out is so half of the time."""
        trees = self._trees
        while True:
            intent = rng.choice(list(trees))
            said: list[tuple[str, str]] = []
            words = list(self._said(trees[intent], rng, said))
            if words and len({slot for slot, _ in said}) == len(said):
                return " ".join(words), Command(intent, dict(said))

    @cached_property
    def _ways(self) -> dict[str, list[tuple[str, list[str]]]]:
        return {slot: list(self.ways(slot)) for slot in self.slots}

    @cached_property
    def _trees(self) -> dict[str, Node]:
        return {intent: self.tree(intent) for intent in self.intents}

    def _said(self, node: Node, rng: random.Random, slots: list[tuple[str, str]]) -> Iterator[str]:
        match node:
            case Word(text):
                yield text
            case SlotName(name):
                value, words = rng.choice(self._ways[name])
                slots.append((name, value))
                yield from words
            case InOrder(parts):
                for part in parts:
                    yield from self._said(part, rng, slots)
            case Choice(options):
                yield from self._said(rng.choice(options), rng, slots)


def words_of(text: str) -> list[str]:
    """Words of a text in lower case, without punctuation."""
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.lower())]


def parse_grammar(content: Any, name: str = "grammar") -> CommandGrammar:
    """The grammar in the content of its file. ValueError with the first thing that is wrong with it, in one line."""
    try:
        return CommandGrammar.model_validate(content, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(
            f"{name}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error


def read_grammar(path: Path) -> CommandGrammar:
    """The grammar in a TOML or JSON file. ValueError with what is wrong with it."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        text = content.decode("utf-8")
        found: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ValueError(f"cannot read the grammar {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path} is no grammar: {error}") from error
    return parse_grammar(found, str(path))


def _parsed(grammar: CommandGrammar, pattern: str, where: str, within: tuple[str, ...]) -> Node:
    tokens = list(_tokens(pattern, where))
    node, place = _choice(grammar, tokens, 0, where, within)
    if place < len(tokens):
        raise ValueError(f"{where}: {tokens[place]!r} closes nothing in {pattern[:60]!r}")
    return node


def _tokens(pattern: str, where: str) -> Iterator[str]:
    place, end = 0, len(pattern.rstrip())
    while place < end:
        found = _TOKEN.match(pattern, place)
        if not found:
            raise ValueError(f"{where}: unmatched {pattern[place:].strip()[0]!r} in {pattern[:60]!r}")
        yield found.group().strip()
        place = found.end()


def _choice(
    grammar: CommandGrammar, tokens: list[str], place: int, where: str, within: tuple[str, ...]
) -> tuple[Node, int]:
    options: list[Node] = []
    parts: list[Node] = []
    while place < len(tokens) and tokens[place] not in ")]":
        token = tokens[place]
        place += 1
        if token == "|":
            options.append(InOrder(tuple(parts)))
            parts = []
        elif token in "([":
            inner, place = _choice(grammar, tokens, place, where, within)
            closing = ")" if token == "(" else "]"
            if place == len(tokens) or tokens[place] != closing:
                raise ValueError(f"{where}: {token!r} is not closed by {closing!r}")
            place += 1
            parts.append(inner if token == "(" else Choice((NOTHING, inner)))
        else:
            parts.append(_leaf(grammar, token, where, within))
    options.append(InOrder(tuple(parts)))
    return (options[0] if len(options) == 1 else Choice(tuple(options))), place


def _leaf(grammar: CommandGrammar, token: str, where: str, within: tuple[str, ...]) -> Node:
    name = token[1:-1]
    if token[0] == "{":
        if name not in grammar.slots:
            raise ValueError(f"{where}: there is no slot {name!r}; slots: {', '.join(grammar.slots) or 'none'}")
        return SlotName(name)
    if token[0] == "<":
        if name not in grammar.phrases:
            raise ValueError(f"{where}: there is no phrase {name!r}; phrases: {', '.join(grammar.phrases) or 'none'}")
        if name in within or len(within) == DEEPEST:
            raise ValueError(f"{where}: phrase {name!r} holds itself")
        inner = (*within, name)
        return Choice(tuple(_parsed(grammar, pattern, f"phrases.{name}", inner) for pattern in grammar.phrases[name]))
    words = words_of(token)
    if not words:
        raise ValueError(f"{where}: {token!r} is no word")
    return InOrder(tuple(map(Word, words))) if len(words) > 1 else Word(words[0])
