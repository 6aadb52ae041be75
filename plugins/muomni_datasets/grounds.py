"""Grounds of drawn pictures, and how the finished picture reaches the model: oblong, gray, blurred, as JPEG.

Everything is drawn from a :class:`StoryRandom` that is passed in.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from muomni_datasets.pictures_config import DrawnConfig, Ground
from muomni_datasets.story_plots import StoryRandom

Rgb = tuple[int, int, int]

UNITS = 64  # of the picture's shorter side
VISIBLE = 60  # smallest difference between the colors of an object and of its ground, in one channel
VISIBLE_GRAY = 36  # the same between levels of gray
GRAINS = (8, 33)  # weakest and strongest noise: its largest deviation from the color
LEVELS: dict[Ground, tuple[tuple[int, int], ...]] = {
    "gray": ((112, 88),),
    "muted": ((112, 88),) * 3,
    "white": ((248, 8),) * 3,
    "light": ((205, 44),) * 3,
    "dark": ((24, 44),) * 3,
    "black": ((0, 8),) * 3,
    "dark-blue": ((0, 24), (0, 40), (70, 80)),
    "any": ((0, 256),) * 3,
    "gradient": ((0, 256),) * 3,
    "noise": ((0, 256),) * 3,
}
"""Lowest level of each channel of a ground (of all three, if there is one), and how many levels there are."""


def gray_level(color: Rgb) -> float:
    """The level of a color in a gray picture (ITU-R BT.601, as Pillow has it)."""
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue


@dataclass(frozen=True, slots=True)
class Backdrop:
    """One color, or a gradient from it to ``other`` in the direction of ``angle``, with noise up to ``grain``."""

    color: Rgb
    other: Rgb | None = None
    angle: float = 0.0
    grain: int = 0
    seed: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether it has one color."""
        return self.other is None and not self.grain

    @property
    def shades(self) -> list[Rgb]:
        """Colors that occur in it, without the noise."""
        if self.other is None:
            return [self.color]
        mixes = [[a + (b - a) * share for a, b in zip(self.color, self.other, strict=True)] for share in (0, 0.5, 1)]
        return [(round(red), round(green), round(blue)) for red, green, blue in mixes]

    def shows(self, color: Rgb, *, gray: bool = False) -> bool:
        """Whether an object of a color is seen everywhere on it."""
        if gray:
            level = gray_level(color)
            return all(abs(level - gray_level(shade)) > VISIBLE_GRAY + self.grain // 2 for shade in self.shades)
        return all(max(abs(a - b) for a, b in zip(color, shade, strict=True)) > VISIBLE for shade in self.shades)

    def draw(self, size: tuple[int, int]) -> Image.Image:
        """The ground alone, (width, height) pixels."""
        if self.is_plain:
            return Image.new("RGB", size, self.color)
        width, height = size
        pixels = np.broadcast_to(np.array(self.color, np.float32), (height, width, 3))
        if self.other is not None:
            down, right = np.mgrid[0:height, 0:width].astype(np.float32)
            along = right * math.cos(self.angle) + down * math.sin(self.angle)
            along = (along - along.min()) / max(float(np.ptp(along)), 1.0)
            pixels = pixels + along[:, :, None] * (np.array(self.other, np.float32) - pixels)
        if self.grain:
            rng = np.random.default_rng(self.seed)
            pixels = pixels + rng.integers(-self.grain, self.grain + 1, (height, width, 3))
        return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def backdrop(name: Ground, rng: StoryRandom) -> Backdrop:
    """A ground of a kind."""
    first = _color(name, rng)
    if name == "gradient":
        return Backdrop(first, _color(name, rng), rng.between(0, 2 * math.pi))
    if name == "noise":
        grain = GRAINS[0] + rng.below(GRAINS[1] - GRAINS[0])
        return Backdrop(first, grain=grain, seed=rng.below(1 << 31))
    return Backdrop(first)


def _color(name: Ground, rng: StoryRandom) -> Rgb:
    # Three numbers whatever the ground, and one level of all for gray.
    drawn = [rng.between(0, 1) for _ in range(3)]
    low = LEVELS[name] * 3 if len(LEVELS[name]) == 1 else LEVELS[name]
    shares = drawn[:1] * 3 if len(LEVELS[name]) == 1 else drawn
    red, green, blue = (least + int(share * count) for (least, count), share in zip(low, shares, strict=True))
    return red, green, blue


@dataclass(frozen=True, slots=True)
class Variation:
    """How a picture leaves the usual: ``aspect`` of its sides, ``wide`` or high; ``before``, the share of what is added
    that comes first; ``spread`` over all of it, or as a square would be; ``gray``; ``blur``, a radius in units; and the
    ``quality`` of a JPEG (0: a PNG)."""

    aspect: float = 1.0
    wide: bool = True
    before: float = 0.5
    spread: bool = False
    gray: bool = False
    blur: float = 0.0
    quality: int = 0

    def on(self, ground: Backdrop) -> Variation:
        """The variation of a picture with a ground: square unless it is plain. When an oblong picture is read, only
        plain ends are cut; with others it would be shrunk, and big objects would look small."""
        return self if ground.is_plain else replace(self, aspect=1.0)

    def size(self, short: float) -> tuple[float, float]:
        """Width and height of a picture whose shorter side is ``short``."""
        return (short * self.aspect, short) if self.wide else (short, short * self.aspect)

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of a square picture lies in this one, in units."""
        scale, moved = (self.aspect, 0.0) if self.spread else (1.0, UNITS * (self.aspect - 1) * self.before)
        return (x * scale + moved, y) if self.wide else (x, y * scale + moved)


USUAL = Variation()


def variation(config: DrawnConfig, name: str) -> Variation:
    """The variation of the picture ``name`` of a source."""
    rng = StoryRandom(f"picture/{config.split}/{config.seed}/{name}")
    if rng.between(0, 1) < config.plain:
        return USUAL
    return Variation(
        aspect=rng.between(*config.aspects),
        wide=bool(rng.below(2)),
        before=rng.between(0, 1),
        spread=bool(rng.below(2)),
        gray=rng.between(0, 1) < config.gray,
        blur=rng.between(0, config.blur),
        quality=config.quality[0] + rng.below(config.quality[1] - config.quality[0] + 1) if config.quality else 0,
    )


def pixels(varied: Variation, short: int) -> tuple[int, int]:
    """Width and height in pixels."""
    width, height = varied.size(short)
    return round(width), round(height)


def encoded(picture: Image.Image, varied: Variation) -> bytes:
    """The file of a finished picture."""
    if varied.gray:
        picture = picture.convert("L").convert("RGB")
    if varied.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(varied.blur * min(picture.size) / UNITS))
    file = io.BytesIO()
    if varied.quality:
        picture.save(file, "JPEG", quality=varied.quality)
    else:
        picture.save(file, "PNG", compress_level=1)
    return file.getvalue()
