# ruff: noqa: SIM905 (lists of words are easier to read and extend as text)

"""Generated English: the vocabulary, sentences with slots, and the plots of the stories.

Each plot is a function of a seeded generator and returns one short, consistent text. :class:`StoryRandom` uses only
``Random.random``, the one method whose values Python guarantees across versions, so a seed gives the same stories
everywhere.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

NAMES = {
    "girl": (
        "Anna Bella Clara Daisy Ella Fay Grace Hanna Ida Julia Kate Lily Mia Nora Olive Penny Rosa Sara Tess Uma Vera "
        "Wendy Yara Zoe Amy Betty Cora Dora Emma Gina"
    ).split(),
    "boy": (
        "Adam Ben Carl Dan Eli Finn Gus Henry Ivan Jack Karl Leo Max Ned Oscar Paul Ray Sam Tom Victor Will Alan Bob "
        "Dean Fred Hugo Jim Luke Mark Noah"
    ).split(),
}

ANIMALS = (
    "cat dog fox hen duck goat horse mouse rabbit sheep cow pig frog bear owl crow deer donkey goose hare hedgehog "
    "kitten lamb lion mole monkey otter pony puppy robin snail sparrow squirrel swan tiger toad turtle wolf wren zebra"
).split()
COLORS = "red blue green yellow white black brown pink grey orange purple golden silver".split()
SIZES = "big small little tiny large tall short round old new".split()
THINGS = (
    "ball kite hat cup spoon book doll drum bell coat shoe key box bag rope lamp basket blanket bottle boat bowl broom "
    "brush bucket button cake candle card chair clock coin crown feather flag flute glove hammer horn jar kettle knife "
    "ladder leaf letter mat mirror nest needle paper pen pencil pillow plate pot ribbon ring saddle scarf shell shirt "
    "sock stick stone string toy umbrella wagon wheel whistle"
).split()

FOODS = (
    "apple pear plum cherry berry bun pie egg nut carrot bean potato onion peach melon lemon biscuit pancake fig grape"
).split()

PLACES = (
    "garden kitchen forest river market field barn school lake park village house cave castle meadow mill orchard shop "
    "stable tower town valley well yard attic cellar hall library palace tent"
).split()
FEELINGS = "happy sad tired hungry cold angry afraid proud lonely thirsty sleepy glad worried bored calm".split()
WEATHER = "sunny rainy windy snowy foggy cloudy stormy frosty warm cold".split()
JOBS = (
    "baker farmer tailor miller teacher sailor doctor gardener painter shepherd weaver hunter fisherman carpenter cook"
).split()

OPPOSITES = (
    "big:small hot:cold up:down day:night fast:slow open:shut full:empty old:young wet:dry hard:soft light:dark "
    "happy:sad long:short high:low early:late loud:quiet clean:dirty rich:poor thick:thin near:far strong:weak "
    "first:last good:bad left:right inside:outside above:below push:pull give:take win:lose come:go laugh:cry"
).split()

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()

SOUNDS = (
    "cat:meow dog:woof cow:moo duck:quack sheep:baa pig:oink frog:croak hen:cluck owl:hoot lion:roar mouse:squeak "
    "horse:neigh crow:caw wolf:howl donkey:hee-haw goose:honk"
).split()

KINDS = {
    "fruit": "apple pear plum cherry peach melon lemon grape fig".split(),
    "animal": "cat dog fox goat horse mouse rabbit cow bear wolf".split(),
    "tool": "hammer broom brush needle knife ladder bucket rope".split(),
    "thing to wear": "hat coat shoe glove scarf shirt sock".split(),
    "place": "garden forest market school castle meadow village".split(),
}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
PLACE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
SLOT = re.compile(r"\{([^{}]*)\}")
T = TypeVar("T")
_TRIES = 100  # maximum number of attempts to draw a new sentence


def with_article(noun: str) -> str:
    """Prepend ``a`` or ``an``."""
    return f"an {noun}" if noun[0] in "aeio" or noun.startswith("um") else f"a {noun}"


def plural(noun: str) -> str:
    """The plural of a noun in the lists above."""
    irregular = {
        "mouse": "mice", "goose": "geese", "sheep": "sheep", "deer": "deer", "wolf": "wolves", "leaf": "leaves",
        "knife": "knives",
    }  # fmt: skip
    if noun in irregular:
        return irregular[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "sh", "ch", "potato")) else "s")


def places(template: str) -> list[str]:
    """The facts in a template."""
    return PLACE.findall(template)


def fill(template: str, facts: Mapping[str, str]) -> str | None:
    """The sentence; None if a fact is missing."""
    if any(name not in facts for name in places(template)):
        return None
    return PLACE.sub(lambda found: facts[found[1]], template)


class StoryRandom:
    """Seeded choices that are the same on every machine and version of Python."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def below(self, count: int) -> int:
        """An integer from 0 to ``count - 1``."""
        return int(self._random.random() * count)

    def between(self, low: float, high: float) -> float:
        """A float from ``low`` up to ``high``."""
        return low + self._random.random() * (high - low)

    def one(self, options: Sequence[T]) -> T:
        return options[self.below(len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """Distinct options in random order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Person:
    """A person in a story, with their pronouns."""

    name: str
    they: str
    them: str
    their: str


def people(rng: StoryRandom, count: int) -> list[Person]:
    everyone = [(name, kind) for kind, names in NAMES.items() for name in names]
    forms = {"girl": ("she", "her", "her"), "boy": ("he", "him", "his")}
    return [Person(name, *forms[kind]) for name, kind in rng.some(everyone, count)]


def lost(rng: StoryRandom) -> str:
    """Something is lost, looked for in two places, and found in the third."""
    (who, friend), place = people(rng, 2), rng.some(PLACES, 3)
    thing = f"{rng.one(COLORS)} {rng.one(THINGS)}"
    mood = rng.one(["sad", "worried", "afraid"])
    end = rng.one([
        f"{who.name} hugged {friend.name} and said, \"Thank you!\"",
        f"{who.name} was happy again, and the two friends walked home.",
        f"From that day {who.name} always kept the {thing} close.",
    ])  # fmt: skip
    return (
        f"{who.name} had {with_article(thing)}. One {rng.one(WEATHER)} day {who.they} could not find it. "
        f"{who.name} was {mood}. {who.they.capitalize()} looked in the {place[0]}, but it was not there. "
        f"{who.they.capitalize()} looked in the {place[1]}, but it was not there. Then {friend.name} came by. "
        f'"Did you look in the {place[2]}?" asked {friend.name}. They went to the {place[2]} together, and there was '
        f"the {thing}. {end}"
    )


def helping(rng: StoryRandom) -> str:
    """One animal helps another and is helped in turn."""
    first, second = rng.some(ANIMALS, 2)
    place, food = rng.one(PLACES), rng.one(FOODS)
    trouble, deed = rng.one([
        ("was stuck in the mud", "pulled the {} out"),
        ("had a thorn in one foot", "took it out for the {}"),
        ("was caught in a net", "bit through the net until the {} was free"),
        ("had fallen into a hole", "let down a rope for the {}"),
    ])  # fmt: skip
    return (
        f"Once there was {with_article(rng.one(SIZES))} {first} who lived near the {place}. One "
        f"{rng.one(WEATHER)} morning the {first} met {with_article(second)} who {trouble}. "
        f'"Please help me," said the {second}. The {first} was kind and {deed.format(second)}. The next day the '
        f"{first} was hungry and had nothing to eat. The {second} came with {with_article(food)} and said, "
        f'"You helped me, so now I help you." They shared the {food}, and they were friends from then on.'
    )


def market(rng: StoryRandom) -> str:
    """A person sells and buys; the sums are right."""
    who = people(rng, 1)[0]
    had, food, thing = 3 + rng.below(9), rng.one(FOODS), rng.one(THINGS)
    sold = 1 + rng.below(had - 1)
    left = had - sold
    count = f"{NUMBERS[left]} {food if left == 1 else plural(food)}"
    return (
        f"{who.name} the {rng.one(JOBS)} went to the market on {rng.one(DAYS)} with "
        f"{NUMBERS[had]} {plural(food)}. {who.they.capitalize()} sold {NUMBERS[sold]} of them and had "
        f"{count} left. With the money {who.they} bought {with_article(rng.one(COLORS))} {thing}. On the way "
        f"home {who.they} ate one {food} and felt {rng.one(['happy', 'glad', 'proud'])}."
    )


def gift(rng: StoryRandom) -> str:
    """One person gives another a present."""
    giver, taker = people(rng, 2)
    before = rng.one(["sad", "lonely", "bored"])
    thing = f"{rng.one(COLORS)} {rng.one(THINGS)}"
    place = rng.one(PLACES)
    return (
        f"It was {with_article(rng.one(WEATHER))} {rng.one(DAYS)}. {taker.name} sat in the {place} "
        f'and was {before}. {giver.name} saw {taker.them} and asked, "Why are you {before}?" "I have nobody to play '
        f'with," said {taker.name}. So {giver.name} gave {taker.them} {with_article(thing)}, and they played with it '
        f"until the evening. {taker.name} was not {before} any more. {taker.they.capitalize()} put the {thing} beside "
        f"{taker.their} bed that night."
    )


def warning(rng: StoryRandom) -> str:
    """A person does not listen, learns why, and listens the next time."""
    who, animal, place = people(rng, 1)[0], rng.one(ANIMALS), rng.one(PLACES)
    parent = rng.one(["mother", "father", "grandmother", "uncle"])
    trouble, lesson = rng.one([
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


PLOTS: Sequence[Callable[[StoryRandom], str]] = (lost, helping, market, gift, warning)


def made(patterns: Sequence[str], slots: Mapping[str, Sequence[str]], seed: int) -> Iterator[str]:
    """Endless sentences from uniformly drawn patterns; none repeats before (nearly) all have occurred."""
    ways = sum(math.prod(len(slots[name]) for name in SLOT.findall(pattern)) for pattern in patterns)
    said: set[str] = set()
    rng = StoryRandom(f"patterns/{seed}")
    while True:
        if len(said) >= ways:
            said.clear()
        for _ in range(1 + _TRIES):
            text = SLOT.sub(lambda slot: rng.one(slots[slot.group(1)]), rng.one(patterns))
            if text not in said:
                break
        said.add(text)
        yield text


def mistake(patterns: Sequence[str], slots: Mapping[str, Sequence[str]]) -> str:
    """Why patterns and slots do not match; empty if they do."""
    asked = {name for pattern in patterns for name in SLOT.findall(pattern)}
    if lacking := sorted(asked - set(slots)):
        return f"patterns use the slot {lacking[0]!r}, which slots does not define"
    if unused := sorted(set(slots) - asked):
        return f"no pattern uses the slot {{{unused[0]}}}"
    if broken := [pattern for pattern in patterns if set(SLOT.sub("", pattern)) & set("{}")]:
        return f"the pattern {broken[0][:60]!r} has an unmatched brace"
    return ""
