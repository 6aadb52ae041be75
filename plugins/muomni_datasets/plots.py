"""The plots of the tales. Each is a function of a seeded generator and gives one short text whose people and things
stay the same from the first sentence to the last.

Only ``Random.random`` is used (through :class:`Chance`): it is the one method whose values Python promises to keep
from version to version, so a seed means the same tales everywhere.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from muomni_datasets import words
from muomni_datasets.words import plural, with_article

T = TypeVar("T")


class Chance:
    """Seeded choices that are the same on every machine and version of Python."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, count: int) -> int:
        """A number from 0 to ``count - 1``."""
        return int(self._random.random() * count)

    def between(self, low: float, high: float) -> float:
        """A number from ``low`` up to ``high``."""
        return low + self._random.random() * (high - low)

    def one(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Different options, in chance order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in a tale, with the words that stand for them."""

    name: str
    they: str
    them: str
    their: str


def people(chance: Chance, count: int) -> list[Person]:
    """Different people."""
    everyone = [(name, kind) for kind, names in words.NAMES.items() for name in names]
    forms = {"girl": ("she", "her", "her"), "boy": ("he", "him", "his")}
    return [Person(name, *forms[kind]) for name, kind in chance.some(everyone, count)]


def lost(chance: Chance) -> str:
    """Something is lost, looked for in two places, and found in the third."""
    (who, friend), place = people(chance, 2), chance.some(words.PLACES, 3)
    thing = f"{chance.one(words.COLOURS)} {chance.one(words.THINGS)}"
    mood = chance.one(["sad", "worried", "afraid"])
    end = chance.one([
        f"{who.name} hugged {friend.name} and said, \"Thank you!\"",
        f"{who.name} was happy again, and the two friends walked home.",
        f"From that day {who.name} always kept the {thing} close.",
    ])  # fmt: skip
    return (
        f"{who.name} had {with_article(thing)}. One {chance.one(words.WEATHER)} day {who.they} could not find it. "
        f"{who.name} was {mood}. {who.they.capitalize()} looked in the {place[0]}, but it was not there. "
        f"{who.they.capitalize()} looked in the {place[1]}, but it was not there. Then {friend.name} came by. "
        f'"Did you look in the {place[2]}?" asked {friend.name}. They went to the {place[2]} together, and there was '
        f"the {thing}. {end}"
    )


def helping(chance: Chance) -> str:
    """One animal helps another and is helped in turn."""
    first, second = chance.some(words.ANIMALS, 2)
    place, food = chance.one(words.PLACES), chance.one(words.FOODS)
    trouble, deed = chance.one([
        ("was stuck in the mud", "pulled the {} out"),
        ("had a thorn in one foot", "took it out for the {}"),
        ("was caught in a net", "bit through the net until the {} was free"),
        ("had fallen into a hole", "let down a rope for the {}"),
    ])  # fmt: skip
    return (
        f"Once there was {with_article(chance.one(words.SIZES))} {first} who lived near the {place}. One "
        f"{chance.one(words.WEATHER)} morning the {first} met {with_article(second)} who {trouble}. "
        f'"Please help me," said the {second}. The {first} was kind and {deed.format(second)}. The next day the '
        f"{first} was hungry and had nothing to eat. The {second} came with {with_article(food)} and said, "
        f'"You helped me, so now I help you." They shared the {food}, and they were friends from then on.'
    )


def market(chance: Chance) -> str:
    """Somebody sells and buys; the sums are right."""
    who = people(chance, 1)[0]
    had, food, thing = 3 + chance.below(9), chance.one(words.FOODS), chance.one(words.THINGS)
    sold = 1 + chance.below(had - 1)
    left = had - sold
    count = f"{words.NUMBERS[left]} {food if left == 1 else plural(food)}"
    return (
        f"{who.name} the {chance.one(words.JOBS)} went to the market on {chance.one(words.DAYS)} with "
        f"{words.NUMBERS[had]} {plural(food)}. {who.they.capitalize()} sold {words.NUMBERS[sold]} of them and had "
        f"{count} left. With the money {who.they} bought {with_article(chance.one(words.COLOURS))} {thing}. On the way "
        f"home {who.they} ate one {food} and felt {chance.one(['happy', 'glad', 'proud'])}."
    )


def gift(chance: Chance) -> str:
    """One person makes another glad."""
    giver, taker = people(chance, 2)
    before = chance.one(["sad", "lonely", "bored"])
    thing = f"{chance.one(words.COLOURS)} {chance.one(words.THINGS)}"
    place = chance.one(words.PLACES)
    return (
        f"It was {with_article(chance.one(words.WEATHER))} {chance.one(words.DAYS)}. {taker.name} sat in the {place} "
        f'and was {before}. {giver.name} saw {taker.them} and asked, "Why are you {before}?" "I have nobody to play '
        f'with," said {taker.name}. So {giver.name} gave {taker.them} {with_article(thing)}, and they played with it '
        f"until the evening. {taker.name} was not {before} any more. {taker.they.capitalize()} put the {thing} beside "
        f"{taker.their} bed that night."
    )


def warning(chance: Chance) -> str:
    """Somebody does not listen, learns why, and listens the next time."""
    who, animal, place = people(chance, 1)[0], chance.one(words.ANIMALS), chance.one(words.PLACES)
    parent = chance.one(["mother", "father", "grandmother", "uncle"])
    trouble, lesson = chance.one([
        ("it began to rain, and soon all {their} clothes were wet", "take your coat"),
        ("{they} lost the way and had to wait until somebody came", "stay on the path"),
        ("{they} fell and hurt one knee", "walk slowly"),
        ("it got dark, and {they} could see nothing", "come home before night"),
    ])  # fmt: skip
    told = trouble.format(they=who.they, their=who.their)
    return (
        f'{who.name} wanted to see the {animal} in the {place}. "Please {lesson}," said {who.their} {parent}, but '
        f"{who.name} did not listen. In the {place} {told}. The {animal} looked at {who.them} and went away. Back at "
        f'home {who.name} said, "I am sorry. You were right." The next time {who.they} heard the words "{lesson}", '
        f"{who.they} did just that, and all went well."
    )


PLOTS: Sequence[Callable[[Chance], str]] = (lost, helping, market, gift, warning)
