"""Pictures as squares of the encoder's size.

Used alike by training, chat and exported models. Normalization by mean and std is part of the model's graph.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from muomni_cli.image.io import as_array, read_picture, upright_rgb
from muomni_vit.plugin import VitConfig

FINE = 8  # longest side, in sides of the square, of the picture in which plain ends are looked for
PLAIN = 20  # largest difference, in each channel, of pixels of one color: JPEG and resizing leave some


def to_input(config: VitConfig, image: Image.Image) -> NDArray[np.uint8]:
    """Any picture -> (3,S,S) RGB, 0 to 255. Raises RequestError: gray values are out of range."""
    return as_array(fit(config, upright_rgb(config.size, image)))


def fit(config: VitConfig, image: Image.Image) -> Image.Image:
    """A square of side ``config.size``, by one bicubic resize (antialiased where it shrinks).

    ``pad``, the default, scales the longer side to the square and centers the picture between bars of the mean color,
    which are zero after normalization: nothing is cut off and no shape is distorted. ``extend`` cuts what is plain at
    the ends of the longer side, and its bars have the color of the picture's edge, so that its ground goes on.
    ``crop`` scales the shorter side and keeps the center; ``stretch`` scales each side independently.
    """
    side, (width, height) = config.size, image.size
    square = (side, side)
    if config.fit == "stretch" or width == height:
        return image if image.size == square else image.resize(square, Image.Resampling.BICUBIC)
    if config.fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        return image.crop((left, top, left + short, top + short)).resize(square, Image.Resampling.BICUBIC)
    red, green, blue = (round(255 * share) for share in config.mean)
    if config.fit == "extend":
        small = image.resize(scaled(image.size, min(max(image.size), FINE * side)), Image.Resampling.BICUBIC)
        red, green, blue = edge_color(small)
        image = image.crop(without_plain_ends(image.size, np.asarray(small), (red, green, blue)))
    inner = image.resize(scaled(image.size, side), Image.Resampling.BICUBIC)
    page = Image.new("RGB", square, (red, green, blue))
    page.paste(inner, ((side - inner.width) // 2, (side - inner.height) // 2))
    return page


def scaled(size: tuple[int, int], side: int) -> tuple[int, int]:
    """``size`` in proportion, with a longer side of ``side``."""
    width, height = size
    return max(1, round(width * side / max(size))), max(1, round(height * side / max(size)))


def edge_color(image: Image.Image) -> tuple[int, int, int]:
    """The median color of the outermost pixels, by channel."""
    pixels = np.asarray(image)
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(edge, axis=0).astype(int).tolist()
    return red, green, blue


def without_plain_ends(
    size: tuple[int, int], small: NDArray[np.uint8], color: tuple[int, int, int]
) -> tuple[int, int, int, int]:
    """The box (left, top, right, bottom) of a picture of ``size`` without lines of one ``color`` at the ends of its
    longer side, but no shorter than the other side. ``small`` (H,W,3) is the picture in proportion."""
    width, height = size
    lines = small if height > width else small.swapaxes(0, 1)  # the longer side first
    plain = (np.abs(lines.astype(np.int16) - color) <= PLAIN).all((1, 2))
    before, after = int(plain.argmin()), int(plain[::-1].argmin())
    cut = min(len(lines) - lines.shape[1], before + after)
    left = before + after - cut  # shared out in proportion, but something for each end
    least, most = min(before, lines.shape[1] // 16, left // 2), left - min(after, lines.shape[1] // 16, left // 2)
    first = before - min(max(round(left * before / max(before + after, 1)), least), most)
    begin, end = (round(at * max(size) / len(lines)) for at in (first, len(lines) - cut + first))
    return (0, begin, width, end) if height > width else (begin, 0, end, height)


def read(config: VitConfig, file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """A picture as (3,S,S) RGB, 0 to 255: one input of :class:`muomni_vit.model.Vit`, which fits the square by
    ``config.fit``; otherwise as :func:`muomni_cli.image.io.read_picture`."""
    return as_array(fit(config, read_picture(config, file, name)))


def count(config: VitConfig, inputs: NDArray[np.uint8]) -> int:  # noqa: ARG001
    """Tokens of a picture; all have the same number."""
    return config.token_count


def inputs(config: VitConfig) -> dict[str, NDArray[np.uint8]]:
    """A random picture for benchmarks, as :func:`read` returns it."""
    side = config.size
    return {"one image": np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)}
