"""Pictures of nothing in particular: noise, stripes, checks, blotches, scribbles and plain grounds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from muomni_datasets.grounds import Backdrop
from muomni_datasets.story_plots import StoryRandom

PATTERNS = ("noise", "stripes", "checks", "blotches", "scribbles", "rays", "plain")
MOST = 14  # lines of a scribble


def pattern(size: tuple[int, int], ground: Backdrop, rng: StoryRandom) -> Image.Image:
    """One of :data:`PATTERNS`, (width, height) pixels, between the colors of a ground and other ones."""
    name, seeded = rng.one(PATTERNS), np.random.default_rng(rng.below(1 << 31))
    if name == "plain":
        return ground.draw(size)
    if name == "scribbles":
        return _scribbles(ground.draw(size), rng)
    if name == "noise":
        coarse = 1 + rng.below(8)
        small = (-(-size[1] // coarse), -(-size[0] // coarse), 1 if rng.below(2) else 3)
        cells = np.broadcast_to(seeded.integers(0, 256, small, dtype=np.uint8), (*small[:2], 3))
        way = Image.Resampling.NEAREST if rng.below(2) else Image.Resampling.BICUBIC
        return Image.fromarray(np.ascontiguousarray(cells)).resize(size, way)
    colors = np.array([ground.color, *seeded.integers(0, 256, (3, 3))], np.float32)
    mixed = colors[_fields(name, size, rng, seeded) % len(colors)]
    return Image.fromarray(mixed.astype(np.uint8))


def _fields(name: str, size: tuple[int, int], rng: StoryRandom, seeded: np.random.Generator) -> NDArray[np.int64]:
    """(height, width) numbers of the color of every pixel."""
    width, height = size
    down, right = np.mgrid[0:height, 0:width].astype(np.float64)
    step, count, angle = rng.between(3, 16), 2 + rng.below(3), rng.between(0, math.pi)
    if name == "blotches":
        cells = seeded.random((3 + rng.below(4), 3 + rng.below(4))).astype(np.float32)
        smooth = np.asarray(Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC))
        return np.asarray(np.clip(smooth * count, 0, count - 1), np.int64)
    if name == "rays":
        turned = np.arctan2(down - rng.between(0, height), right - rng.between(0, width))
        return np.asarray((turned + math.pi) / math.pi * (4 + rng.below(8)), np.int64) % count
    along = right * math.cos(angle) + down * math.sin(angle)
    across = right * math.sin(angle) - down * math.cos(angle)
    lines = np.floor(along / step)
    return np.asarray(lines + (np.floor(across / step) if name == "checks" else 0), np.int64) % count


def _scribbles(picture: Image.Image, rng: StoryRandom) -> Image.Image:
    pen = ImageDraw.Draw(picture)
    for _ in range(3 + rng.below(MOST)):
        points = [(rng.between(0, picture.width), rng.between(0, picture.height)) for _ in range(2 + rng.below(4))]
        color = (rng.below(256), rng.below(256), rng.below(256))
        pen.line(points, fill=color, width=1 + rng.below(5))
    return picture
