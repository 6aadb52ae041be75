"""Names of the things that are drawn, from ``things.txt``, which explains itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parent / "things.txt"
UNNAMED = ("unknown", "held")  # lines of emoji without a name


@dataclass(frozen=True, slots=True)
class NamedThing:
    """What is drawn by one of several ``emoji``: code points in hexadecimal, joined by ``-``."""

    name: str
    plural: str  # empty: not counted
    emoji: Sequence[str]

    @property
    def some(self) -> str:
        """The name with its article: ``an apple``, ``some grapes``."""
        return f"{article(self.name) if self.plural else 'some'} {self.name}"


def article(name: str) -> str:
    """``a`` or ``an``, by how the name begins in speech."""
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "eu", "one"))
    return "an" if vowel else "a"


@dataclass(frozen=True, slots=True)
class ThingNames:
    """All named things by name, and emoji without a name: to learn what is unknown, and to measure it."""

    things: Mapping[str, NamedThing]
    unknown: Sequence[str]
    held: Sequence[str]


@cache
def thing_names() -> ThingNames:
    """The table of names."""
    things: dict[str, NamedThing] = {}
    without: dict[str, list[str]] = {name: [] for name in UNNAMED}
    for line in TABLE.read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, emoji = line.partition(": ")
        if name in without:
            without[name] += emoji.split()
            continue
        name, _, plural = name.partition(" / ")
        if name.startswith("some "):
            name = name.removeprefix("some ")
        else:
            plural = plural or f"{name}s"
        things[name] = NamedThing(name, plural, tuple(emoji.split()))
    return ThingNames(things, tuple(without["unknown"]), tuple(without["held"]))
