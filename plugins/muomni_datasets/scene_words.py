"""What can be said about a scene: its caption, single facts, and questions with their answers. Draws nothing."""

from __future__ import annotations

from collections.abc import Sequence

from muomni_datasets.layout import Scene
from muomni_datasets.made_config import COLOURS, SHAPES
from muomni_datasets.plots import Chance
from muomni_datasets.templates import fill
from muomni_datasets.words import NUMBERS

SIDES = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
"""A relation -> where the first thing is, and where the other."""


def caption(scene: Scene) -> str:
    """``A small red circle is left of a blue square.``, ``A big green star.``, ``Three red circles.``"""
    first = scene.things[0]
    if scene.counted:
        count = len(scene.things)
        return f"{NUMBERS[count].capitalize()} {first.kind}{'' if count == 1 else 's'}."
    subject = f"A {first.size} {first.kind}"
    # "a orange", as others that draw such scenes have it: a caption is right when it is equal, word for word.
    others = [f"{relation} a {thing.kind}" for relation, thing in zip(scene.relations, scene.things[1:], strict=True)]
    return f"{subject} is {' and '.join(others)}." if others else f"{subject}."


def facts(scene: Scene, number: int) -> dict[str, str]:
    """Names and values of all that is true and cannot be misunderstood.

    ``count`` always; ``colour``, ``shape`` and ``size`` where all things are equal; ``colour_of_circle`` where there is
    one circle, and ``shape_of_red`` where one thing is red; ``left``, ``left_colour``, ``left_shape`` and so on for
    ``right``, ``top`` and ``bottom``; and to ask with, ``some_shape`` with ``colour_of_some_shape``, and
    ``some_colour`` with ``shape_of_some_colour``; ``missing_shape`` and ``missing_colour``, which no thing has.

    Args:
        number: chooses the thing for the last ones.
    """
    things = scene.things[:1] if scene.counted else scene.things
    found = {"text": caption(scene), "label": things[0].kind, "count": NUMBERS[len(scene.things)]}
    if len(things) == 1:
        found |= {"colour": things[0].colour, "shape": things[0].shape}
        if not scene.counted:
            found["size"] = things[0].size
    shapes, colours = [thing.shape for thing in things], [thing.colour for thing in things]
    found |= {f"colour_of_{thing.shape}": thing.colour for thing in things if shapes.count(thing.shape) == 1}
    found |= {f"shape_of_{thing.colour}": thing.shape for thing in things if colours.count(thing.colour) == 1}
    thing = things[number % len(things)]
    if shapes.count(thing.shape) == 1:
        found |= {"some_shape": thing.shape, "colour_of_some_shape": thing.colour}
    if colours.count(thing.colour) == 1:
        found |= {"some_colour": thing.colour, "shape_of_some_colour": thing.shape}
    found["missing_shape"] = _other_than(shapes, SHAPES, number)
    found["missing_colour"] = _other_than(colours, COLOURS, number)
    for relation, other in zip(scene.relations, things[1:], strict=True):
        sides = list(zip(SIDES[relation], (things[0], other), strict=True))
        for side, thing in sides if len(things) == 2 else sides[1:]:  # of three, two share the first one's side
            found |= {side: thing.kind, f"{side}_colour": thing.colour, f"{side}_shape": thing.shape}
    return found


def _other_than(there: Sequence[str], known: Sequence[str], number: int) -> str:
    """One of those ``known`` that is not ``there``, which are fewer."""
    absent = [one for one in known if one not in there]
    return absent[number % len(absent)]


QUESTIONS: Sequence[tuple[Sequence[str], str]] = (
    (
        (
            "What colour is the {some_shape}?",
            "Which colour has the {some_shape}?",
            "Tell me the colour of the {some_shape}.",
        ),
        "{colour_of_some_shape}",
    ),
    (
        ("What shape is {some_colour}?", "Which shape is {some_colour}?", "What is the {some_colour} thing?"),
        "{shape_of_some_colour}",
    ),
    (("What colour is it?", "Which colour do you see?", "What is its colour?"), "{colour}"),
    (("What shape is it?", "Which shape do you see?", "What is in the picture?"), "{shape}"),
    (("Is it small or big?", "How big is it?", "What size is it?"), "{size}"),
    (("Which shape is left?", "What is on the left?", "Which thing is on the left side?"), "{left}"),
    (("Which shape is right?", "What is on the right?", "Which thing is on the right side?"), "{right}"),
    (("Which shape is above?", "What is at the top?", "Which thing is higher up?"), "{top}"),
    (("Which shape is below?", "What is at the bottom?", "Which thing is lower down?"), "{bottom}"),
    (("How many shapes are there?", "How many things do you see?", "Count the shapes."), "{count}"),
    (("Describe the picture.", "What do you see?", "What is in this picture? Say it in one sentence."), "{text}"),
)
"""Ways to ask for something, and the answer."""


def ask(told: dict[str, str], chance: Chance) -> tuple[str, str]:
    """A question about a scene with these facts, and its answer."""
    known = [(ways, answer) for ways, template in QUESTIONS if (answer := fill(template, told)) is not None]
    ways, answer = chance.one(known)
    question = fill(chance.one(ways), told)
    assert question is not None, "what a question names is known where its answer is"
    return question, answer
