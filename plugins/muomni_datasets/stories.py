"""Generated stories, and conversations of questions with known answers; the same on every machine.

Item ``i`` depends only on the seed and ``i``, so a larger count never changes the first items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from muomni_cli.api import Conversation, Document, Message
from muomni_datasets import story_plots
from muomni_datasets.config import TalesConfig
from muomni_datasets.story_plots import PLOTS, StoryRandom, people, plural, with_article
from muomni_datasets.text import GeneratedSource, content_key

Asked = tuple[str, str]


def opposite(rng: StoryRandom) -> Asked:
    """The opposite of a word."""
    pair = rng.one(story_plots.OPPOSITES).split(":")
    word, other = rng.some(pair, 2)
    question = rng.one(["What is the opposite of {}?", "Tell me the opposite of {}.", "Which word means not {}?"])
    return question.format(word), f"The opposite of {word} is {other}."


def adding(rng: StoryRandom) -> Asked:
    """Addition and subtraction of things."""
    who, noun = people(rng, 1)[0], rng.one([*story_plots.FOODS, *story_plots.THINGS])
    had, change = 2 + rng.below(9), 1 + rng.below(9)
    if rng.below(2) and change < had:
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


def color(rng: StoryRandom) -> Asked:
    """The color of one of three things."""
    things, colors = rng.some(story_plots.THINGS, 3), rng.some(story_plots.COLORS, 3)
    asked = rng.below(3)
    told = ". ".join(f"The {thing} is {shade}" for thing, shade in zip(things, colors, strict=True))
    return f"{told}. What colour is the {things[asked]}?", f"The {things[asked]} is {colors[asked]}."


def which(rng: StoryRandom) -> Asked:
    """Which of three things has a color."""
    things, colors = rng.some(story_plots.THINGS, 3), rng.some(story_plots.COLORS, 3)
    asked = rng.below(3)
    told = ", ".join(f"{with_article(shade)} {thing}" for thing, shade in zip(things, colors, strict=True))
    return f"I see {told}. Which thing is {colors[asked]}?", f"The {things[asked]} is {colors[asked]}."


def sound(rng: StoryRandom) -> Asked:
    """What an animal says, or which animal says it."""
    animal, says = rng.one(story_plots.SOUNDS).split(":")
    if rng.below(2):
        return f"What does the {animal} say?", f"The {animal} says {says}."
    return f"Which animal says {says}?", f"The {animal} says {says}."


def kind(rng: StoryRandom) -> Asked:
    """The category of a thing."""
    group = rng.one(list(story_plots.KINDS))
    noun = rng.one(story_plots.KINDS[group])
    other = rng.one(list(story_plots.KINDS))
    if rng.below(2):
        return f"What is {with_article(noun)}?", f"{with_article(noun).capitalize()} is {with_article(group)}."
    truth = "Yes" if other == group else "No"
    return (
        f"Is {with_article(noun)} {with_article(other)}?",
        f"{truth}, {with_article(noun)} is {with_article(group)}.",
    )


def day(rng: StoryRandom) -> Asked:
    """The day before or after."""
    today, step = rng.below(7), rng.one([1, -1])
    word = "after" if step == 1 else "before"
    return (
        f"Which day comes {word} {story_plots.DAYS[today]}?",
        f"{story_plots.DAYS[(today + step) % 7]} comes {word} {story_plots.DAYS[today]}.",
    )


def deed(rng: StoryRandom) -> Asked:
    """Who did what and where, after two sentences."""
    first, second = people(rng, 2)
    things, places = rng.some(story_plots.THINGS, 2), rng.some(story_plots.PLACES, 2)
    verb, past = rng.one([("find", "found"), ("lose", "lost"), ("see", "saw"), ("leave", "left"), ("hide", "hid")])
    told = (
        f"{first.name} {past} {with_article(things[0])} in the {places[0]}. "
        f"{second.name} {past} {with_article(things[1])} in the {places[1]}."
    )
    asked = rng.below(2)
    who, thing, place = (first, second)[asked], things[asked], places[asked]
    question = rng.one([
        f"Who {past} the {thing}?",
        f"What did {who.name} {verb}?",
        f"Where did {who.name} {verb} the {thing}?",
    ])  # fmt: skip
    return f"{told} {question}", f"{who.name} {past} the {thing} in the {place}."


def unknown(rng: StoryRandom) -> Asked:
    """An unanswerable question, about missing media, unknown people or untold facts; the answer says so."""
    who = people(rng, 1)[0]
    thing, place, animal = (rng.one(words) for words in (story_plots.THINGS, story_plots.PLACES, story_plots.ANIMALS))
    found = f"{who.name} found {with_article(thing)} in the {place}."
    other = next(name.name for name in people(rng, 2) if name.name != who.name)
    return rng.one([
        (rng.one(["What do you see?", "Describe the picture.", "What is on the left?"]), "I see no picture."),
        (rng.one(["What do you hear?", "What is said?", "Which word do you hear?"]), "I hear no sound."),
        (f"How old is {who.name}?", f"I do not know how old {who.name} is."),
        (f"Where does {who.name} live?", f"I do not know where {who.name} lives."),
        (f"What is the name of my {animal}?", f"I do not know the name of your {animal}."),
        (f"Where did I leave my {thing}?", f"I do not know where your {thing} is."),
        (f"{found} Where is {other}?", f"I do not know where {other} is."),
        (f"{found} What colour is the {thing}?", f"I do not know the colour of the {thing}."),
        (f"Who lives in the {place}?", f"I do not know who lives in the {place}."),
        (rng.one(["What is my name?", "Do you know my name?", "Who am I?"]), "I do not know your name."),
    ])  # fmt: skip


QUESTIONS: Sequence[Callable[[StoryRandom], Asked]] = (opposite, adding, color, which, sound, kind, day, deed)


class Tales(GeneratedSource):
    """A source of ``count`` items, a share of them conversations of one to three questions."""

    def __init__(self, config: TalesConfig) -> None:
        self._config = config

    def documents(self) -> Iterator[Document | Conversation]:
        for index in range(self._config.count):
            rng = StoryRandom(f"{self._config.seed}/{index}")
            if rng.below(1_000_000) < self._config.conversations * 1_000_000:
                yield self._conversation(rng)
            else:
                text = rng.one(PLOTS)(rng)
                yield Document(text=text, key=content_key(text), source="tales")

    def _conversation(self, rng: StoryRandom) -> Conversation:
        messages: list[Message] = []
        share = self._config.unknown
        for _ in range(1 + rng.below(3)):
            unanswerable = share and rng.below(1_000_000) < share * 1_000_000
            question, answer = unknown(rng) if unanswerable else rng.one(QUESTIONS)(rng)
            messages += [Message("user", question), Message("assistant", answer)]
        key = content_key(*(message.text for message in messages))
        return Conversation(tuple(messages), key, source="tales", learn=self._config.learn)
