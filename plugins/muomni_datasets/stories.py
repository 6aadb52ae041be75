"""Stories, and conversations of questions with known answers: small, clean, endless, and the same on every machine.

Item ``i`` of a seed is a function of both numbers alone, so more items never change the first ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from muomni_cli.api import Conversation, Document, Message
from muomni_datasets import story_plots
from muomni_datasets.config import TalesConfig
from muomni_datasets.story_plots import PLOTS, Chance, people, plural, with_article
from muomni_datasets.text_files import content_key

Asked = tuple[str, str]


def opposite(chance: Chance) -> Asked:
    """The opposite of a word, either way round."""
    pair = chance.one(story_plots.OPPOSITES).split(":")
    word, other = chance.some(pair, 2)
    question = chance.one(["What is the opposite of {}?", "Tell me the opposite of {}.", "Which word means not {}?"])
    return question.format(word), f"The opposite of {word} is {other}."


def adding(chance: Chance) -> Asked:
    """Things are given or taken away; how many are there?"""
    who, noun = people(chance, 1)[0], chance.one([*story_plots.FOODS, *story_plots.THINGS])
    had, change = 2 + chance.below(9), 1 + chance.below(9)
    if chance.below(2) and change < had:
        verb, total = "gives away", had - change
    else:
        verb, total = "gets", had + change
    more = " more" if verb == "gets" else ""
    counted = noun if total == 1 else plural(noun)
    return (
        f"{who.name} has {story_plots.NUMBERS[had]} {plural(noun)} and {verb} {story_plots.NUMBERS[change]}{more}. "
        f"How many {plural(noun)} does {who.name} have now?",
        f"{who.name} has {story_plots.NUMBERS[total]} {counted} now.",
    )


def colour(chance: Chance) -> Asked:
    """Three things of three colours; what colour has one of them?"""
    things, colours = chance.some(story_plots.THINGS, 3), chance.some(story_plots.COLOURS, 3)
    asked = chance.below(3)
    told = ". ".join(f"The {thing} is {shade}" for thing, shade in zip(things, colours, strict=True))
    return f"{told}. What colour is the {things[asked]}?", f"The {things[asked]} is {colours[asked]}."


def which(chance: Chance) -> Asked:
    """Three things of three colours; which one has a colour?"""
    things, colours = chance.some(story_plots.THINGS, 3), chance.some(story_plots.COLOURS, 3)
    asked = chance.below(3)
    told = ", ".join(f"{with_article(shade)} {thing}" for thing, shade in zip(things, colours, strict=True))
    return f"I see {told}. Which thing is {colours[asked]}?", f"The {things[asked]} is {colours[asked]}."


def sound(chance: Chance) -> Asked:
    """What an animal says, or which animal says it."""
    animal, says = chance.one(story_plots.SOUNDS).split(":")
    if chance.below(2):
        return f"What does the {animal} say?", f"The {animal} says {says}."
    return f"Which animal says {says}?", f"The {animal} says {says}."


def kind(chance: Chance) -> Asked:
    """What kind of thing something is."""
    group = chance.one(list(story_plots.KINDS))
    noun = chance.one(story_plots.KINDS[group])
    other = chance.one(list(story_plots.KINDS))
    if chance.below(2):
        return f"What is {with_article(noun)}?", f"{with_article(noun).capitalize()} is {with_article(group)}."
    truth = "Yes" if other == group else "No"
    return (
        f"Is {with_article(noun)} {with_article(other)}?",
        f"{truth}, {with_article(noun)} is {with_article(group)}.",
    )


def day(chance: Chance) -> Asked:
    """The day before or after."""
    today, step = chance.below(7), chance.one([1, -1])
    word = "after" if step == 1 else "before"
    return (
        f"Which day comes {word} {story_plots.DAYS[today]}?",
        f"{story_plots.DAYS[(today + step) % 7]} comes {word} {story_plots.DAYS[today]}.",
    )


def deed(chance: Chance) -> Asked:
    """A tale of two sentences; who did it, what was it, or where?"""
    first, second = people(chance, 2)
    things, places = chance.some(story_plots.THINGS, 2), chance.some(story_plots.PLACES, 2)
    verb, past = chance.one([("find", "found"), ("lose", "lost"), ("see", "saw"), ("leave", "left"), ("hide", "hid")])
    told = (
        f"{first.name} {past} {with_article(things[0])} in the {places[0]}. "
        f"{second.name} {past} {with_article(things[1])} in the {places[1]}."
    )
    asked = chance.below(2)
    who, thing, place = (first, second)[asked], things[asked], places[asked]
    question = chance.one([
        f"Who {past} the {thing}?",
        f"What did {who.name} {verb}?",
        f"Where did {who.name} {verb} the {thing}?",
    ])  # fmt: skip
    return f"{told} {question}", f"{who.name} {past} the {thing} in the {place}."


def unknown(chance: Chance) -> Asked:
    """A question that nothing answers: of media that are not there, of people nobody told of, of what a tale left out.
    The answer says so."""
    who = people(chance, 1)[0]
    thing, place, animal = (
        chance.one(story_plots.THINGS),
        chance.one(story_plots.PLACES),
        chance.one(story_plots.ANIMALS),
    )
    found = f"{who.name} found {with_article(thing)} in the {place}."
    other = next(name.name for name in people(chance, 2) if name.name != who.name)
    return chance.one([
        (chance.one(["What do you see?", "Describe the picture.", "What is on the left?"]), "I see no picture."),
        (chance.one(["What do you hear?", "What is said?", "Which word do you hear?"]), "I hear no sound."),
        (f"How old is {who.name}?", f"I do not know how old {who.name} is."),
        (f"Where does {who.name} live?", f"I do not know where {who.name} lives."),
        (f"What is the name of my {animal}?", f"I do not know the name of your {animal}."),
        (f"Where did I leave my {thing}?", f"I do not know where your {thing} is."),
        (f"{found} Where is {other}?", f"I do not know where {other} is."),
        (f"{found} What colour is the {thing}?", f"I do not know the colour of the {thing}."),
        (f"Who lives in the {place}?", f"I do not know who lives in the {place}."),
        (chance.one(["What is my name?", "Do you know my name?", "Who am I?"]), "I do not know your name."),
    ])  # fmt: skip


QUESTIONS: Sequence[Callable[[Chance], Asked]] = (opposite, adding, colour, which, sound, kind, day, deed)


class Tales:
    """``count`` items, a share of them conversations of one to three questions."""

    def __init__(self, config: TalesConfig) -> None:
        self._config = config
        self.unreadable: dict[str, str] = {}

    def files(self) -> list[Path]:
        return []

    def documents(self) -> Iterator[Document | Conversation]:
        for index in range(self._config.count):
            chance = Chance(f"{self._config.seed}/{index}")
            if chance.below(1_000_000) < self._config.conversations * 1_000_000:
                yield self._conversation(chance)
            else:
                text = chance.one(PLOTS)(chance)
                yield Document(text=text, key=content_key(text), source="tales")

    def _conversation(self, chance: Chance) -> Conversation:
        messages: list[Message] = []
        for _ in range(1 + chance.below(3)):
            question, answer = self._asked(chance)
            messages += [Message("user", question), Message("assistant", answer)]
        key = content_key(*(message.text for message in messages))
        return Conversation(tuple(messages), key, source="tales", learn=self._config.learn)

    def _asked(self, chance: Chance) -> Asked:
        share = self._config.unknown
        if share and chance.below(1_000_000) < share * 1_000_000:
            return unknown(chance)
        return chance.one(QUESTIONS)(chance)


def build(config: TalesConfig) -> Tales:
    """A source of tales."""
    return Tales(config)
