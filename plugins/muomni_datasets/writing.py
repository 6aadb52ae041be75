"""Digits, words and odd letters, printed in the font of Pillow or drawn by hand, as masks: gray pictures whose white
parts are the ink."""

from __future__ import annotations

import math
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from muomni_datasets.story_plots import StoryRandom

WORDS = [
    "go",
    "stop",
    "yes",
    "no",
    "on",
    "off",
    "up",
    "down",
    "left",
    "right",
    "hello",
    "open",
    "closed",
    "exit",
    "cat",
    "dog",
    "car",
    "bus",
    "sun",
    "red",
    "blue",
    "green",
    "fish",
    "bird",
    "tree",
    "book",
    "door",
    "home",
    "love",
    "milk",
    "tea",
    "shop",
    "sale",
    "free",
    "hot",
    "cold",
    "new",
    "push",
    "pull",
    "wait",
    "play",
    "help",
    "good",
    "bad",
    "mom",
    "dad",
    "boy",
    "girl",
    "taxi",
    "park",
    "bank",
    "hotel",
    "pizza",
    "water",
    "salt",
    "sugar",
    "coffee",
    "bread",
    "menu",
    "happy",
    "thanks",
    "please",
    "welcome",
]
LETTERS = "BCDFGHJKLMNPQRSTVWXYZbdfghkmqrtyxz"
FONT_SIZE = 48  # pixels; masks are scaled to what is needed

Stroke = list[tuple[float, float]]
DIGITS: dict[int, list[Stroke]] = {
    0: [[(0.5, 0.0), (0.15, 0.2), (0.1, 0.5), (0.2, 0.85), (0.5, 1.0), (0.8, 0.85), (0.9, 0.5), (0.8, 0.15),
         (0.5, 0.0)]],
    1: [[(0.3, 0.22), (0.55, 0.0), (0.55, 0.5), (0.55, 1.0)]],
    2: [[(0.12, 0.25), (0.3, 0.03), (0.65, 0.02), (0.85, 0.25), (0.65, 0.55), (0.1, 1.0)], [(0.1, 1.0), (0.9, 1.0)]],
    3: [[(0.15, 0.1), (0.5, 0.0), (0.8, 0.2), (0.7, 0.42), (0.42, 0.48), (0.75, 0.56), (0.85, 0.78), (0.55, 1.0),
         (0.12, 0.9)]],
    4: [[(0.65, 1.0), (0.65, 0.0)], [(0.65, 0.0), (0.08, 0.68)], [(0.08, 0.68), (0.95, 0.68)]],
    5: [[(0.85, 0.0), (0.22, 0.0)], [(0.22, 0.0), (0.17, 0.45)],
        [(0.17, 0.45), (0.55, 0.38), (0.85, 0.6), (0.75, 0.92), (0.4, 1.0), (0.1, 0.88)]],
    6: [[(0.75, 0.03), (0.35, 0.25), (0.13, 0.65), (0.3, 0.97), (0.65, 0.97), (0.85, 0.72), (0.6, 0.5), (0.2, 0.66)]],
    7: [[(0.1, 0.0), (0.9, 0.0)], [(0.9, 0.0), (0.6, 0.45), (0.4, 1.0)]],
    8: [[(0.5, 0.48), (0.2, 0.28), (0.35, 0.03), (0.65, 0.03), (0.8, 0.27), (0.5, 0.48), (0.15, 0.72), (0.35, 0.99),
         (0.65, 0.99), (0.85, 0.72), (0.5, 0.48)]],
    9: [[(0.82, 0.32), (0.45, 0.5), (0.17, 0.3), (0.35, 0.03), (0.7, 0.05), (0.83, 0.33), (0.75, 0.7), (0.6, 1.0)]],
}  # fmt: skip
"""Strokes through points of a box of side 1, y downwards."""

FINE = 96  # pixels of the mask of a drawn digit


def digit(number: int, rng: StoryRandom) -> Image.Image:
    """The mask of a digit, printed or drawn by hand."""
    return drawn_digit(number, rng) if rng.below(2) else printed(str(number), rng)


def drawn_digit(number: int, rng: StoryRandom) -> Image.Image:
    """A digit with strokes whose points are moved, the whole stretched and slanted; and perhaps a bar in the seven."""
    picture = Image.new("L", (FINE, FINE))
    pen, thick = ImageDraw.Draw(picture), rng.between(4, 14)
    wide, slant = rng.between(0.5, 0.9), rng.between(-0.15, 0.3)
    strokes = [*DIGITS[number]]
    if number == 7 and rng.below(3) == 0:
        strokes.append([(0.3, 0.5), (0.8, 0.5)])
    for stroke in strokes:
        moved = [(x + rng.between(-0.04, 0.04), y + rng.between(-0.04, 0.04)) for x, y in stroke]
        placed = [(0.5 + (x - 0.5) * wide + slant * (0.5 - y), y) for x, y in curve(moved)]
        line = [(FINE * (0.12 + 0.76 * x), FINE * (0.12 + 0.76 * y)) for x, y in placed]
        pen.line(line, fill=255, width=round(thick), joint="curve")
        for x, y in (line[0], line[-1]):
            pen.ellipse([x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2], fill=255)
    return trimmed(picture)


def curve(points: Stroke, steps: int = 6) -> Stroke:
    """A Catmull-Rom spline through points; two of them are joined by a line."""
    if len(points) < 3:
        return points
    padded = [points[0], *points, points[-1]]
    found: Stroke = []
    for before, begin, end, after in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for step in range(steps):
            x, y = (_spline(*along, step / steps) for along in zip(before, begin, end, after, strict=True))
            found.append((x, y))
    return [*found, points[-1]]


def _spline(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def printed(text: str, rng: StoryRandom) -> Image.Image:
    """A text in the font of Pillow: regular or bold, upright or slanted, narrow or wide."""
    bold, slant, wide = rng.below(4), rng.one([0.0, 0.0, 0.25]), rng.between(0.8, 1.25)
    left, top, right, bottom = (round(edge) for edge in _font().getbbox(text, stroke_width=bold))
    height, lean = bottom - top, math.ceil(slant * (bottom - top))
    picture = Image.new("L", (right - left + lean, height))
    ImageDraw.Draw(picture).text((-left, -top), text, fill=255, font=_font(), stroke_width=bold)
    if slant:
        matrix = (1, slant, -slant * height, 0, 1, 0)
        picture = picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return trimmed(picture.resize((max(1, round(picture.width * wide)), height)))


@cache
def _font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(FONT_SIZE)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow has its own font with FreeType"
    return font


def spelled(rng: StoryRandom) -> tuple[str, str]:
    """One of :data:`WORDS`, in small letters, and as it is printed."""
    word = rng.one(WORDS)
    return word, rng.one([word, word.upper(), word.capitalize()])


def odd_letters(rng: StoryRandom) -> str:
    """Letters that make no word."""
    return "".join(rng.one(LETTERS) for _ in range(3 + rng.below(5)))


def trimmed(mask: Image.Image) -> Image.Image:
    """A mask without its empty edges."""
    return mask.crop(mask.getbbox() or (0, 0, 1, 1))
