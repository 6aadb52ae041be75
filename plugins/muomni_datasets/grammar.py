"""Sentences made of patterns: ``"turn {onoff} the {room} light"``, each slot filled with one of its texts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from muomni_datasets.plots import Chance

SLOT = re.compile(r"\{([^{}]*)\}")
_TRIES = 100
"""How often another sentence is drawn in place of one that there was already."""


def made(patterns: Sequence[str], slots: Mapping[str, Sequence[str]], seed: int) -> Iterator[str]:
    """Sentences without end. All patterns are as likely; none comes again before (nearly) all have been there."""
    ways = sum(math.prod(len(slots[name]) for name in SLOT.findall(pattern)) for pattern in patterns)
    said: set[str] = set()
    chance = Chance(f"patterns/{seed}")
    while True:
        if len(said) >= ways:
            said.clear()
        text = _drawn(patterns, slots, chance)
        for _ in range(_TRIES):
            if text not in said:
                break
            text = _drawn(patterns, slots, chance)
        said.add(text)
        yield text


def _drawn(patterns: Sequence[str], slots: Mapping[str, Sequence[str]], chance: Chance) -> str:
    return SLOT.sub(lambda slot: chance.one(slots[slot.group(1)]), chance.one(patterns))


def mistake(patterns: Sequence[str], slots: Mapping[str, Sequence[str]]) -> str:
    """Why the patterns and slots do not go together; empty if they do."""
    asked = {name for pattern in patterns for name in SLOT.findall(pattern)}
    if lacking := sorted(asked - set(slots)):
        return f"patterns ask for the slot {lacking[0]!r}, which slots does not have"
    if unused := sorted(set(slots) - asked):
        return f"no pattern has the slot {{{unused[0]}}}"
    if broken := [pattern for pattern in patterns if set(SLOT.sub("", pattern)) & set("{}")]:
        return f"the pattern {broken[0][:60]!r} has a brace without its other half"
    return ""
