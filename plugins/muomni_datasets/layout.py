"""What is where in a scene, by seed and number, and how it is drawn. Knows no words but colours and shapes.

Lengths are in units of 1/64 of the picture's side.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from muomni_datasets.made_config import ScenesConfig
from muomni_datasets.plots import Chance

UNITS = 64
RADII = {"small": (7.2, 8.6), "big": (12.0, 14.0)}
OTHER = (9.6, 10.8)
"""Radius of the things beside the first, of which no size is told. By it the first is known: it is small or big."""

COLOURS = {
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
SHADE = 14
"""How far a colour is from its middle at most, each of red, green and blue."""

FINE = 4
"""Times larger that a scene with soft edges is drawn."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing in a scene: what it is, its middle, its radius."""

    colour: str
    shape: str
    size: str
    shade: Rgb
    x: float
    y: float
    radius: float

    @property
    def kind(self) -> str:
        """``red circle``."""
        return f"{self.colour} {self.shape}"


@dataclass(frozen=True, slots=True)
class Scene:
    """``relations[i]``: where the first thing is, seen from thing ``i + 1``. Equal things, ``counted``, have none."""

    background: Rgb
    things: Sequence[Thing]
    relations: Sequence[str] = ()
    counted: bool = False


def lay_out(config: ScenesConfig, index: int) -> Scene:
    """Scene number ``index``: a function of the seed, the side of the split and what may be drawn."""
    chance = Chance(f"{config.split}/{config.seed}/{index}")
    background = _background(chance)
    if chance.between(0, 1) < config.counting:
        return Scene(background, _equal(chance, _first(config)), counted=True)
    count = chance.one(config.objects)
    size = chance.one(list(RADII))
    kinds = [chance.one(_first(config)), *chance.some(_others(config), 3)]
    kinds = list(dict.fromkeys(kinds))[:count]
    radii = [chance.between(*RADII[size]), *(chance.between(*OTHER) for _ in kinds[1:])]
    places, relations = (_alone, _side_by_side, _in_a_corner)[count - 1](chance)
    things = [
        _thing(chance, kind, size if number == 0 else "", place, radius)
        for number, (kind, place, radius) in enumerate(zip(kinds, places, radii, strict=True))
    ]
    return Scene(background, things, relations)


def _first(config: ScenesConfig) -> list[str]:
    return [kind for kind in config.only if kind in config.kinds] if config.only else config.kinds


def _others(config: ScenesConfig) -> list[str]:
    return [kind for kind in config.kinds if kind not in config.only]


def _background(chance: Chance) -> Rgb:
    """Grey or a pale colour; no thing's colour."""
    if chance.below(2):
        level = 112 + chance.below(88)
        return level, level, level
    return 112 + chance.below(88), 112 + chance.below(88), 112 + chance.below(88)


def _thing(chance: Chance, kind: str, size: str, place: tuple[float, float], radius: float) -> Thing:
    colour, shape = kind.split()
    red, green, blue = (min(255, max(0, round(level + chance.between(-SHADE, SHADE)))) for level in COLOURS[colour])
    return Thing(colour, shape, size, (red, green, blue), *place, radius)


Places = tuple[list[tuple[float, float]], list[str]]


def _alone(chance: Chance) -> Places:
    return [(chance.between(16, 48), chance.between(16, 48))], []


def _side_by_side(chance: Chance) -> Places:
    """The first thing on one half, the other on the other. They are always further apart along the axis that is told
    than across it, and never touch."""
    relation = chance.one(["left of", "right of", "above", "below"])
    near, far = 16 + chance.between(-3, 3), 48 + chance.between(-3, 3)
    across = chance.between(19, 45), chance.between(19, 45)
    along = (near, far) if relation in ("left of", "above") else (far, near)
    pairs = list(zip(along, across, strict=True))
    return (pairs if relation.endswith("of") else [(x, y) for y, x in pairs]), [relation]


def _in_a_corner(chance: Chance) -> Places:
    """The first thing in a corner, the second beside it, the third above or below it."""
    x, y = (chance.one([16.0, 48.0]) for _ in range(2))
    relations = ["left of" if x < 32 else "right of", "above" if y < 32 else "below"]
    places = [(x, y), (64 - x, y), (x, 64 - y)]
    return [(x + chance.between(-2, 2), y + chance.between(-2, 2)) for x, y in places], relations


def _equal(chance: Chance, kinds: Sequence[str]) -> list[Thing]:
    """One to four equal things, each in a field of its own of three times three."""
    kind, radius = chance.one(kinds), chance.between(7, 8.5)
    fields = chance.some([(column, row) for column in (12, 32, 52) for row in (12, 32, 52)], 1 + chance.below(4))
    first = _thing(chance, kind, "small", (0, 0), radius)
    return [
        Thing(
            first.colour,
            first.shape,
            "small",
            first.shade,
            x + chance.between(-1, 1),
            y + chance.between(-1, 1),
            radius,
        )
        for x, y in fields
    ]


def draw(scene: Scene, size: int, *, smooth: bool) -> bytes:
    """PNG bytes of a scene, ``size`` pixels wide and high."""
    side = size * FINE if smooth else size
    picture = Image.new("RGB", (side, side), scene.background)
    pen = ImageDraw.Draw(picture)
    for thing in scene.things:
        x, y, radius = (length * side / UNITS for length in (thing.x, thing.y, thing.radius))
        if thing.shape == "circle":
            pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=thing.shade)
        else:
            pen.polygon(
                [(x + radius * right, y + radius * down) for right, down in OUTLINES[thing.shape]], fill=thing.shade
            )
    if smooth:
        picture = picture.resize((size, size), Image.Resampling.BOX)
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _star() -> list[tuple[float, float]]:
    """Five points, the first one up; the inner corners are 0.45 as far out."""
    corners = ((math.pi * number / 5, 0.45 if number % 2 else 1.0) for number in range(10))
    return [(far * math.sin(angle), -far * math.cos(angle)) for angle, far in corners]


OUTLINES: dict[str, list[tuple[float, float]]] = {
    "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
    "triangle": [(0, -1), (1, 1), (-1, 1)],
    "star": _star(),
}
"""Corners of shapes of radius 1; y goes down."""
