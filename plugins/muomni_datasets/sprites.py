"""Drawn icons of things, read from the tar that ``muomni data get things`` makes, and the name of their color."""

from __future__ import annotations

import colorsys
import io
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from muomni_cli.api import RequestError, files
from muomni_datasets.story_plots import StoryRandom

KEPT = 4096  # decoded icons in memory, of 36 kB
SOLID = 128  # alpha from which a pixel counts
MOSTLY = 0.65  # share of the pixels that must have a color for the whole to have it
SMALL = 24  # side of the picture in which colors are counted


@lru_cache(maxsize=4)
def _members(path: Path, changed: int) -> dict[str, tuple[int, int]]:  # noqa: ARG001
    """Offset and size of every icon."""
    try:
        with tarfile.open(path, "r:") as tar:
            return {member.name: (member.offset_data, member.size) for member in tar if member.isreg()}
    except (OSError, tarfile.TarError) as error:
        raise RequestError(f"{path} cannot be read: {error}", "make it again: muomni data get things") from error


def members(path: Path) -> dict[str, tuple[int, int]]:
    """Offset and size of every icon of a tar, by ``STYLE/CODE.png``. Raises RequestError: it cannot be read."""
    with files.open_regular(path):
        return _members(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=KEPT)
def styles_of(path: Path, emoji: str, styles: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``styles`` in which a tar has an emoji."""
    there = members(path)
    return tuple(style for style in styles if f"{style}/{emoji}.png" in there)


def drawn(path: Path, emoji: Sequence[str], styles: tuple[str, ...]) -> list[str]:
    """Those of several emoji that a tar has in one of ``styles``."""
    return [one for one in emoji if styles_of(path, one, styles)]


@lru_cache(maxsize=KEPT)
def icon(path: Path, style: str, emoji: str) -> Image.Image:
    """An icon in RGBA, without its empty edges. Raises RequestError: it is not in the tar."""
    name = f"{style}/{emoji}.png"
    found = members(path).get(name)
    if found is None:
        raise RequestError(f"{path} has no picture {name}", "make it again: muomni data get things")
    with files.open_regular(path) as file:
        file.seek(found[0])
        picture = Image.open(io.BytesIO(file.read(found[1]))).convert("RGBA")
    return picture.crop(picture.getchannel("A").getbbox())


def varied(picture: Image.Image, rng: StoryRandom) -> Image.Image:
    """An icon that is mirrored, turned a little, squashed, paler, brighter or darker."""
    if rng.below(2):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.below(2):
        wide, high = rng.between(0.75, 1.0), rng.between(0.75, 1.0)
        picture = picture.resize((max(1, round(picture.width * wide)), max(1, round(picture.height * high))))
    if rng.below(2):
        picture = picture.rotate(rng.between(-25, 25), Image.Resampling.BILINEAR, expand=True)
    alpha = picture.getchannel("A")
    shown = ImageEnhance.Color(picture.convert("RGB")).enhance(rng.between(0.5, 1.4))
    shown = ImageEnhance.Brightness(shown).enhance(rng.between(0.75, 1.25))
    shown.putalpha(alpha)
    return shown


@lru_cache(maxsize=KEPT)
def color_name(path: Path, style: str, emoji: str) -> str:
    """The color that nearly all of an icon has; empty if it has several."""
    names = [hue_name(*color) for color in solid_colors(icon(path, style, emoji), SMALL)]
    best = max(sorted(set(names)), key=names.count, default="")
    return best if names and names.count(best) >= MOSTLY * len(names) else ""


def solid_colors(picture: Image.Image, side: int) -> list[tuple[int, int, int]]:
    """The colors of an icon of ``side`` pixels, where it is not transparent."""
    pixels = np.asarray(picture.resize((side, side))).reshape(-1, 4)
    return [(red, green, blue) for red, green, blue, alpha in pixels.tolist() if alpha >= SOLID]


def hue_name(red: int, green: int, blue: int) -> str:
    """What people call a color; empty between two names."""
    hue, saturation, value = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    degrees = hue * 360
    if value < 0.25:
        return "black"
    if saturation < 0.15:
        return "white" if value > 0.88 else "gray"
    if degrees < 14 or degrees >= 345:
        return "pink" if saturation < 0.5 and value > 0.8 else "red" if saturation > 0.6 and value > 0.6 else ""
    for name, begin, end in (("orange", 18, 40), ("yellow", 44, 66), ("green", 75, 165), ("blue", 190, 250)):
        if begin <= degrees < end:
            return "brown" if name == "orange" and value < 0.7 else name
    return "purple" if 262 <= degrees < 295 else "pink" if 310 <= degrees < 345 else ""
