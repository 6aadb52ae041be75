"""Drawn scenes of colored shapes, with captions or with questions and answers. Pictures are drawn when opened.

Scene ``i`` depends only on the seed, the split, and the possible objects, so a larger count never changes the first
scenes, and the two splits of one seed are independent. Lengths are in units of 1/64 of the picture's side.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from PIL import Image, ImageDraw

from muomni_cli.api import Conversation, Example, Message
from muomni_datasets.config import SIDES
from muomni_datasets.grounds import (
    UNITS,
    USUAL,
    Backdrop,
    Rgb,
    Variation,
    backdrop,
    encoded,
    gray_level,
    pixels,
    variation,
)
from muomni_datasets.pictures_config import COLORS, GROUNDS, SHAPES, ScenesConfig
from muomni_datasets.story_plots import NUMBERS, StoryRandom, fill
from muomni_datasets.text import GeneratedSource

Point = tuple[float, float]

RADII = {"small": (7.2, 8.6), "big": (12.0, 14.0)}
OTHER = (9.6, 10.8)
"""Radius of the other objects, whose size is not in the caption: between small and big, which marks the first one."""

SHADE = 14  # largest random deviation from a color, in each of red, green and blue
FINE = 4  # supersampling factor of soft edges
BLACK, WHITE = 48, 222  # levels below and above which an object in a picture without color is black or white

RGB = {
    "red": (220, 40, 40),
    "green": (40, 170, 60),
    "blue": (50, 80, 220),
    "yellow": (240, 210, 40),
    "purple": (150, 60, 190),
    "orange": (245, 140, 30),
    "black": (20, 20, 20),
    "white": (240, 240, 240),
    "pink": (250, 90, 180),
    "brown": (110, 65, 30),
}

EXTREMES = (Backdrop((250, 250, 250)), Backdrop((6, 6, 6)))  # on one of which every object is seen without its color

RELATIVE_PLACES = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
"""Relation -> side of the first object, side of the other."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One object in a scene; ``x`` and ``y`` are its center."""

    color: str
    shape: str
    size: str
    shade: Rgb
    x: float
    y: float
    radius: float

    @property
    def kind(self) -> str:
        """``red circle``."""
        return f"{self.color} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    ground: Backdrop
    things: Sequence[Thing]
    relations: Sequence[str] = ()  # [i]: position of the first object relative to object i + 1
    counted: bool = False  # equal objects, without relations


def lay_out(config: ScenesConfig, index: int) -> Scene:
    """Scene number ``index``. In a picture without color, objects are black, white or gray."""
    rng = StoryRandom(f"{config.split}/{config.seed}/{index}")
    gray = variation(config, str(index)).gray
    scene = _scene(config, rng, *_ground(config, rng, gray=gray))
    things = [replace(thing, color=_gray_name(thing.shade)) for thing in scene.things] if gray else scene.things
    return replace(scene, things=things)


def _scene(config: ScenesConfig, rng: StoryRandom, ground: Backdrop, possible: Sequence[str]) -> Scene:
    first = [kind for kind in config.only if kind in possible] if config.only else possible
    if rng.between(0, 1) < config.counting:
        return Scene(ground, _equal(rng, first), counted=True)
    if config.filling and rng.between(0, 1) < config.filling:
        return Scene(ground, [_filling(config, rng, rng.one(first))])
    count, size = rng.one(config.objects), rng.one(list(RADII))
    others = [kind for kind in possible if kind not in config.only]
    kinds = list(dict.fromkeys([rng.one(first), *rng.some(others, 3)]))[:count]
    radii = [rng.between(*RADII[size]), *(rng.between(*OTHER) for _ in kinds[1:])]
    places, relations = _places(rng, count)
    things = [
        _thing(rng, kind, size if number == 0 else "", place, radius)
        for number, (kind, place, radius) in enumerate(zip(kinds, places, radii, strict=True))
    ]
    return Scene(ground, things, relations)


def _ground(config: ScenesConfig, rng: StoryRandom, *, gray: bool) -> tuple[Backdrop, list[str]]:
    """The ground and the kinds of objects that can be seen on it; the usual ground where they would be too few."""
    plain, level = rng.below(2), 112 + rng.below(88)  # gray or a muted color; not the color of an object
    usual = Backdrop((level, level, level) if plain else (level, 112 + rng.below(88), 112 + rng.below(88)))
    if config.grounds == GROUNDS and not gray:
        return usual, config.kinds
    ground = usual if config.grounds == GROUNDS else backdrop(rng.one(config.grounds), rng)
    for tried in (ground, usual, *EXTREMES) if gray else (ground,):
        kinds, only = _seen(config, tried, gray=gray), set(config.only)
        if len(set(kinds) - only) >= 3 and (not only or only & set(kinds)):
            return tried, kinds
    return usual, config.kinds


def _seen(config: ScenesConfig, ground: Backdrop, *, gray: bool) -> list[str]:
    """The kinds of objects that can be seen on a ground."""
    seen = {color for color, rgb in RGB.items() if ground.shows(rgb, gray=gray)}
    return [kind for kind in config.kinds if kind.split()[0] in seen]


def _gray_name(shade: Rgb) -> str:
    """What a color is called in a picture without color."""
    level = gray_level(shade)
    return "black" if level < BLACK else "white" if level > WHITE else "gray"


def _filling(config: ScenesConfig, rng: StoryRandom, kind: str) -> Thing:
    """A big object in the middle of the picture."""
    radius = rng.between(*config.filling_radius)
    room = UNITS / 2 - radius
    x, y = (UNITS / 2 + rng.between(-room, room) / 2 for _ in range(2))
    return _thing(rng, kind, "big", (x, y), radius)


def _thing(rng: StoryRandom, kind: str, size: str, place: Point, radius: float) -> Thing:
    color, shape = kind.split()
    red, green, blue = (min(255, max(0, round(level + rng.between(-SHADE, SHADE)))) for level in RGB[color])
    return Thing(color, shape, size, (red, green, blue), *place, radius)


def _places(rng: StoryRandom, count: int) -> tuple[list[Point], list[str]]:
    """Places of one to three objects, and the relations of the first to the others.

    Of two, each lies on one half: their distance is always larger along the axis of the relation than across it, and
    they never touch. Of three, the first lies in a corner, the second beside it, the third above or below it.
    """
    if count == 1:
        return [(rng.between(16, 48), rng.between(16, 48))], []
    if count == 2:
        relation = rng.one(["left of", "right of", "above", "below"])
        near, far = 16 + rng.between(-3, 3), 48 + rng.between(-3, 3)
        across = rng.between(19, 45), rng.between(19, 45)
        along = (near, far) if relation in ("left of", "above") else (far, near)
        pairs = list(zip(along, across, strict=True))
        return (pairs if relation.endswith("of") else [(x, y) for y, x in pairs]), [relation]
    x, y = (rng.one([16.0, 48.0]) for _ in range(2))
    relations = ["left of" if x < 32 else "right of", "above" if y < 32 else "below"]
    places = [(x, y), (64 - x, y), (x, 64 - y)]
    return [(x + rng.between(-2, 2), y + rng.between(-2, 2)) for x, y in places], relations


def _equal(rng: StoryRandom, kinds: Sequence[str]) -> list[Thing]:
    """One to four equal objects in different cells of a 3 x 3 grid."""
    kind, radius = rng.one(kinds), rng.between(7, 8.5)
    fields = rng.some([(column, row) for column in (12, 32, 52) for row in (12, 32, 52)], 1 + rng.below(4))
    first = _thing(rng, kind, "small", (0, 0), radius)
    return [replace(first, x=x + rng.between(-1, 1), y=y + rng.between(-1, 1)) for x, y in fields]


def draw(scene: Scene, size: int, *, smooth: bool, varied: Variation = USUAL) -> Image.Image:
    """A scene, ``size`` pixels wide and high, or longer on one side."""
    fine = FINE if smooth else 1
    whole = pixels(varied, size)
    picture = scene.ground.draw(whole).resize((whole[0] * fine, whole[1] * fine), Image.Resampling.NEAREST)
    pen, scale = ImageDraw.Draw(picture), size * fine / UNITS
    for thing in scene.things:
        x, y = (length * scale for length in varied.place(thing.x, thing.y))
        radius = thing.radius * scale
        if thing.shape == "circle":
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=thing.shade)
        else:
            corners = [(x + radius * right, y + radius * down) for right, down in OUTLINES[thing.shape]]
            pen.polygon(corners, fill=thing.shade)
    return picture.resize(whole, Image.Resampling.BOX) if smooth else picture


def picture_of(config: ScenesConfig, index: int) -> bytes:
    """The file of scene number ``index``."""
    scene = lay_out(config, index)
    varied = variation(config, str(index)).on(scene.ground)
    return encoded(draw(scene, config.size, smooth=config.smooth, varied=varied), varied)


RAYS = [(math.pi * number / 5, 0.45 if number % 2 else 1.0) for number in range(10)]  # angle and radius, clockwise
OUTLINES: dict[str, list[Point]] = {
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "star": [(far * math.sin(angle), -far * math.cos(angle)) for angle, far in RAYS],  # five points, the first one up
}
"""Corners of shapes of radius 1; y goes down."""


def caption(scene: Scene) -> str:
    """``A small red circle is left of a blue square.``, ``A big green star.``, ``Three red circles.``"""
    first, count = scene.things[0], len(scene.things)
    if scene.counted:
        return f"{NUMBERS[count].capitalize()} {first.kind}{'' if count == 1 else 's'}."
    subject = f"A {first.size} {first.kind}"
    # "a orange", as in other data sets of such scenes: captions are compared word for word.
    others = [f"{relation} a {thing.kind}" for relation, thing in zip(scene.relations, scene.things[1:], strict=True)]
    return f"{subject} is {' and '.join(others)}." if others else f"{subject}."


def facts(scene: Scene, number: int) -> dict[str, str]:
    """Names and values of all unambiguous facts.

    ``count`` always; ``colour``, ``shape`` and ``size`` if all objects are equal; ``colour_of_circle`` if there is one
    circle, and ``shape_of_red`` if one object is red; ``left``, ``left_colour``, ``left_shape`` and so on for
    ``right``, ``top`` and ``bottom``; for questions, ``some_shape`` with ``colour_of_some_shape``, and ``some_colour``
    with ``shape_of_some_colour``; ``missing_shape`` and ``missing_colour``, which no object has. ``number`` selects the
    object of ``some_`` and the values of ``missing_``.
    """
    things = scene.things[:1] if scene.counted else scene.things
    found = {"text": caption(scene), "label": things[0].kind, "count": NUMBERS[len(scene.things)]}
    if len(things) == 1:
        found |= {"colour": things[0].color, "shape": things[0].shape}
        if not scene.counted:
            found["size"] = things[0].size
    shapes, colors = [thing.shape for thing in things], [thing.color for thing in things]
    found |= {f"colour_of_{thing.shape}": thing.color for thing in things if shapes.count(thing.shape) == 1}
    found |= {f"shape_of_{thing.color}": thing.shape for thing in things if colors.count(thing.color) == 1}
    thing = things[number % len(things)]
    if shapes.count(thing.shape) == 1:
        found |= {"some_shape": thing.shape, "colour_of_some_shape": thing.color}
    if colors.count(thing.color) == 1:
        found |= {"some_colour": thing.color, "shape_of_some_colour": thing.shape}
    found["missing_shape"] = _other_than(shapes, SHAPES, number)
    found["missing_colour"] = _other_than(colors, COLORS, number)
    for relation, other in zip(scene.relations, things[1:], strict=True):
        sides = list(zip(RELATIVE_PLACES[relation], (things[0], other), strict=True))
        for side, thing in sides if len(things) == 2 else sides[1:]:  # of three, two are on the first one's side
            found |= {side: thing.kind, f"{side}_colour": thing.color, f"{side}_shape": thing.shape}
    return found


def _other_than(there: Sequence[str], known: Sequence[str], number: int) -> str:
    """One of ``known`` that is not in ``there``."""
    absent = [one for one in known if one not in there]
    return absent[number % len(absent)]


QUESTIONS: Sequence[tuple[Sequence[str], str]] = (
    (("What colour is the {some_shape}?", "Which colour has the {some_shape}?",
      "Tell me the colour of the {some_shape}."), "{colour_of_some_shape}"),
    (("What shape is {some_colour}?", "Which shape is {some_colour}?", "What is the {some_colour} thing?"),
     "{shape_of_some_colour}"),
    (("What colour is it?", "Which colour do you see?", "What is its colour?"), "{colour}"),
    (("What shape is it?", "Which shape do you see?", "What is in the picture?"), "{shape}"),
    (("Is it small or big?", "How big is it?", "What size is it?"), "{size}"),
    (("Which shape is left?", "What is on the left?", "Which thing is on the left side?"), "{left}"),
    (("Which shape is right?", "What is on the right?", "Which thing is on the right side?"), "{right}"),
    (("Which shape is above?", "What is at the top?", "Which thing is higher up?"), "{top}"),
    (("Which shape is below?", "What is at the bottom?", "Which thing is lower down?"), "{bottom}"),
    (("How many shapes are there?", "How many things do you see?", "Count the shapes."), "{count}"),
    (("Describe the picture.", "What do you see?", "What is in this picture? Say it in one sentence."), "{text}"),
)  # fmt: skip
"""Phrasings of questions, and the answer."""


def ask(known_facts: dict[str, str], rng: StoryRandom) -> tuple[str, str]:
    """A question about a scene with these facts, and its answer."""
    known = [(ways, answer) for ways, template in QUESTIONS if (answer := fill(template, known_facts)) is not None]
    ways, answer = rng.one(known)
    question = fill(rng.one(ways), known_facts)
    assert question is not None, "a fact in a question is known if the answer is"
    return question, answer


@dataclass(frozen=True, slots=True)
class SceneMedia:
    """Scene number ``index``, opened as PNG or JPEG."""

    modality: str
    config: ScenesConfig
    index: int

    @property
    def name(self) -> str:
        return f"scene {self.index} of seed {self.config.seed}"

    @property
    def facts(self) -> Mapping[str, str]:
        return facts(lay_out(self.config, self.index), self.index)

    def open(self) -> BinaryIO:
        return io.BytesIO(picture_of(self.config, self.index))


class Scenes(GeneratedSource):
    """A source of ``count`` scenes."""

    def __init__(self, config: ScenesConfig) -> None:
        self._config = config

    def documents(self) -> Iterator[Example | Conversation]:
        config, split = self._config, SIDES[self._config.split]
        for index in range(config.count):
            media = SceneMedia("image", config, index)
            known_facts = dict(media.facts)
            key = f"scene {config.seed}{config.split}/{index}"
            if config.give == "captions":
                yield Example(media, known_facts["text"], key, known_facts["label"], source="scenes", split=split)
            else:
                question, answer = ask(known_facts, StoryRandom(f"question/{config.split}/{config.seed}/{index}"))
                messages = Message("user", question, (media,)), Message("assistant", answer)
                yield Conversation(messages, key, source="scenes", split=split)
