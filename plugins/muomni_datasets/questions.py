"""Questions whose answers follow from them: counting, colours, opposites, kinds, sounds, and who did what in a tale.

Each is a function of a seeded generator and gives one question and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muomni_datasets import words
from muomni_datasets.plots import Chance, people
from muomni_datasets.words import plural, with_article

Asked = tuple[str, str]


def opposite(chance: Chance) -> Asked:
    """The opposite of a word, either way round."""
    pair = chance.one(words.OPPOSITES).split(":")
    word, other = chance.some(pair, 2)
    question = chance.one(["What is the opposite of {}?", "Tell me the opposite of {}.", "Which word means not {}?"])
    return question.format(word), f"The opposite of {word} is {other}."


def adding(chance: Chance) -> Asked:
    """Things are given or taken away; how many are there?"""
    who, noun = people(chance, 1)[0], chance.one([*words.FOODS, *words.THINGS])
    had, change = 2 + chance.below(9), 1 + chance.below(9)
    if chance.below(2) and change < had:
        verb, total = "gives away", had - change
    else:
        verb, total = "gets", had + change
    more = " more" if verb == "gets" else ""
    counted = noun if total == 1 else plural(noun)
    return (
        f"{who.name} has {words.NUMBERS[had]} {plural(noun)} and {verb} {words.NUMBERS[change]}{more}. How many "
        f"{plural(noun)} does {who.name} have now?",
        f"{who.name} has {words.NUMBERS[total]} {counted} now.",
    )


def colour(chance: Chance) -> Asked:
    """Three things of three colours; what colour has one of them?"""
    things, colours = chance.some(words.THINGS, 3), chance.some(words.COLOURS, 3)
    asked = chance.below(3)
    told = ". ".join(f"The {thing} is {shade}" for thing, shade in zip(things, colours, strict=True))
    return f"{told}. What colour is the {things[asked]}?", f"The {things[asked]} is {colours[asked]}."


def which(chance: Chance) -> Asked:
    """Three things of three colours; which one has a colour?"""
    things, colours = chance.some(words.THINGS, 3), chance.some(words.COLOURS, 3)
    asked = chance.below(3)
    told = ", ".join(f"{with_article(shade)} {thing}" for thing, shade in zip(things, colours, strict=True))
    return f"I see {told}. Which thing is {colours[asked]}?", f"The {things[asked]} is {colours[asked]}."


def sound(chance: Chance) -> Asked:
    """What an animal says, or which animal says it."""
    animal, says = chance.one(words.SOUNDS).split(":")
    if chance.below(2):
        return f"What does the {animal} say?", f"The {animal} says {says}."
    return f"Which animal says {says}?", f"The {animal} says {says}."


def kind(chance: Chance) -> Asked:
    """What kind of thing something is."""
    group = chance.one(list(words.KINDS))
    noun = chance.one(words.KINDS[group])
    other = chance.one(list(words.KINDS))
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
        f"Which day comes {word} {words.DAYS[today]}?",
        f"{words.DAYS[(today + step) % 7]} comes {word} {words.DAYS[today]}.",
    )


def deed(chance: Chance) -> Asked:
    """A tale of two sentences; who did it, what was it, or where?"""
    first, second = people(chance, 2)
    things, places = chance.some(words.THINGS, 2), chance.some(words.PLACES, 2)
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
    thing, place, animal = chance.one(words.THINGS), chance.one(words.PLACES), chance.one(words.ANIMALS)
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
