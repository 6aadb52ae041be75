"""Image preprocessing with Pillow and numpy: size limits, decoding, orientation, conversion to RGB, resizing.

Used alike by training, chat and exported models. Normalization by mean and std is part of the model's graph.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from muomni_cli.api import RequestError
from muomni_vit.plugin import VitConfig

FINE = 8  # longest side, in sides of the square, of the picture in which plain ends are looked for
PLAIN = 20  # largest difference, in each channel, of pixels of one color: JPEG and resizing leave some
_WHITE = (255, 255, 255)
_READABLE = "give a picture such as a PNG, JPEG, WebP, GIF, BMP or TIFF file"
_DAMAGED = "open and save it again in an image editor, or give another picture"

_SMALLER = "make the picture smaller, or raise {} of the image encoder"


def to_input(config: VitConfig, image: Image.Image) -> NDArray[np.uint8]:
    """Any picture -> (3,S,S) RGB, 0 to 255. Raises RequestError: gray values are out of range."""
    square = fit(config, to_rgb(image))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits a channel; transparent parts are composited over white.

    Embedded color profiles are not applied: numbers are taken as sRGB, CMYK as its complement. 16-bit gray keeps its
    upper byte, as Pillow does for 16-bit color; floats go from 0 to 1. Raises RequestError: gray values are out of
    range.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        low, high, white = values.min(), values.max(), 1 if image.mode == "F" else 65_535
        if not (low >= 0 and high <= white):  # also true for NaN
            raise RequestError(
                f"the picture's gray values go from {low} to {high}, not from 0 to {white}",
                "save it with 8 or 16 bits a channel",
            )
        bytes_ = np.rint(values * 255) if image.mode == "F" else values >> 8
        image = Image.fromarray(bytes_.astype(np.uint8))
    if image.has_transparency_data:
        # Pillow cannot convert La and PA to RGBA directly.
        rgba = image.convert({"La": "LA", "PA": "RGBA"}.get(image.mode, "RGBA")).convert("RGBA")
        page = Image.new("RGB", rgba.size, _WHITE)
        page.paste(rgba, mask=rgba.getchannel("A"))
        return page
    if image.mode == "LAB":
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None, "only a conversion in place returns nothing"
        return converted
    return image.convert("RGB")


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
    """A picture as (3,S,S) RGB, 0 to 255: one input of :class:`muomni_vit.model.Vit`.

    Accepts anything Pillow decodes: applies the EXIF orientation, takes the first frame, converts to 8-bit RGB over
    white and fits the square by ``config.fit``. Size limits are checked against the header before decoding; memory
    stays below some 16 bytes a pixel. ``file`` must be seekable; ``name`` stands for it in messages. Raises
    RequestError: not a picture, damaged, or beyond a limit.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > config.max_bytes:
        problem = f"{name} has {size:,} bytes; at most {config.max_bytes:,} are read"
        raise RequestError(problem, _SMALLER.format("max_bytes"))
    with _pillow_errors(name), Image.open(file) as image:
        if image.format == "EPS":  # for which Pillow starts an external program
            raise RequestError(f"{name} is {image.format}, which needs an external program to read", _READABLE)
        _check_size(config, image.size, name)
        image.draft(None, (2 * config.size, 2 * config.size))  # lets a large JPEG be decoded at half size or less
        image.load()
        with contextlib.suppress(Exception):  # broken EXIF data
            ImageOps.exif_transpose(image, in_place=True)
        return to_input(config, image)


def count(config: VitConfig, inputs: NDArray[np.uint8]) -> int:  # noqa: ARG001
    """Tokens of a picture; all have the same number."""
    return config.token_count


def _check_size(config: VitConfig, size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise RequestError(f"{name} has no pixels ({width} x {height})", _DAMAGED)
    if width * height > config.max_pixels:
        raise RequestError(
            f"{name} is {width:,} x {height:,} = {width * height:,} pixels; at most {config.max_pixels:,} are read",
            _SMALLER.format("max_pixels"),
        )
    if max(size) > config.max_side:
        problem = f"{name} is {width:,} x {height:,} pixels; at most {config.max_side:,} a side are read"
        raise RequestError(problem, _SMALLER.format("max_side"))


@contextlib.contextmanager
def _pillow_errors(name: str) -> Iterator[None]:
    """Turn any exception of Pillow's decoders into a RequestError of two lines. Its warnings are silenced, except the
    one about decompression bombs, which is an error: a picture may be larger than its header says."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\b")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except RequestError:
        raise
    except UnidentifiedImageError as error:
        raise RequestError(f"{name} is not a picture that can be read", _READABLE) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise RequestError(f"{name} has too many pixels: {reason}", "make the picture smaller") from error
        raise RequestError(f"{name} is damaged: {reason}", _DAMAGED) from error


def inputs(config: VitConfig) -> dict[str, NDArray[np.uint8]]:
    """A random picture for benchmarks, as :func:`read` returns it."""
    side = config.size
    return {"one image": np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)}
