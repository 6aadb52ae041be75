"""Image preprocessing with Pillow and numpy: size limits, decoding, orientation, conversion to RGB, resizing.

Used alike by training, chat and exported models. Normalization by mean and std is part of the model's graph.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError

from muomni_cli.api import RequestError, console
from muomni_vit.plugin import VitConfig

FINE = 8  # longest side, in sides of the square, of the picture in which plain ends are looked for
PLAIN = 20  # largest difference, in each channel, of pixels of one color: JPEG and resizing leave some
_WHITE = (255, 255, 255)
_READABLE = "give a picture such as a PNG, JPEG, WebP, GIF, BMP or TIFF file"
_DAMAGED = "open and save it again in an image editor, or give another picture"

LARGE = 1 << 24
"""Pixels beyond which a picture is reduced before it is resized: a JPEG in decoding, others by averaging blocks."""
STRIP = 1 << 20  # pixels that are converted to RGB at once
_READING = threading.Lock()  # the filters of warnings are those of all threads


def to_input(config: VitConfig, image: Image.Image) -> NDArray[np.uint8]:
    """Any picture -> (3,S,S) RGB, 0 to 255. Raises RequestError: gray values are out of range."""
    square = fit(config, _upright(image, _rgb_strips(config, image)))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def _rgb_strips(config: VitConfig, image: Image.Image) -> Image.Image:
    """:func:`to_rgb`, strip by strip, so that little more than the picture itself is in memory; a large one is reduced
    to four times the encoder's size or more."""
    (width, height), bits = image.size, _gray_bits(image)
    factor = max(1, min(width, height) // (4 * config.size)) if width * height > LARGE else 1
    page = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    rows = max(1, STRIP // width // factor) * factor
    for top in range(0, height, rows):
        strip = to_rgb(image.crop((0, top, width, min(top + rows, height))), bits)
        page.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return page


def _upright(image: Image.Image, page: Image.Image) -> Image.Image:
    """``page`` rotated according to the EXIF data of ``image``."""
    with contextlib.suppress(Exception):  # broken EXIF data
        page.getexif()[ExifTags.Base.Orientation] = image.getexif().get(ExifTags.Base.Orientation, 1)
        ImageOps.exif_transpose(page, in_place=True)
    return page


def _gray_bits(image: Image.Image) -> int:
    """Bits of integers in a gray picture of more than 8: 16, or 8 if its values need no more."""
    if image.mode == "I" or image.mode.startswith("I;16"):
        high = image.getextrema()[1] if image.mode in ("I", "I;16") else np.asarray(image).max()
        return 8 if int(high) <= 255 else 16  # type: ignore[arg-type]
    return 8


def to_rgb(image: Image.Image, bits: int = 16) -> Image.Image:
    """RGB with 8 bits a channel; transparent parts are composited over white.

    Embedded color profiles are not applied: numbers are taken as sRGB, CMYK as its complement. Gray of 16 ``bits``
    keeps its upper byte, as Pillow does for 16-bit color; floats go from 0 to 1. Raises RequestError: gray values are
    out of range.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        low, high, white = values.min(), values.max(), 1 if image.mode == "F" else 65_535
        if not (low >= 0 and high <= white):  # also true for NaN
            raise RequestError(
                f"the picture's gray values go from {low} to {high}, not from 0 to {white}",
                "save it with 8 or 16 bits a channel",
            )
        bytes_ = np.rint(values * 255) if image.mode == "F" else values >> bits - 8
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
    stays below some 8 bytes for each pixel that is decoded. A large JPEG is decoded at a half to an eighth of its size.
    ``file`` must be seekable; ``name`` stands for it in messages. Raises RequestError: not a picture, damaged, or
    beyond a limit.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > config.max_bytes:
        problem = f"{name} has {size:,} bytes; at most {config.max_bytes:,} are read"
        raise RequestError(problem, "make the picture smaller, or save it as a JPEG")
    console.silence_pillow()
    with _pillow_errors(name), _opened(config, file) as image:
        if image.format == "EPS":  # for which Pillow starts an external program
            raise RequestError(f"{name} is {image.format}, which needs an external program to read", _READABLE)
        _check_size(config, image.size, name)
        image.load()
        if _is_invisible(image):
            raise RequestError(f"{name} is fully transparent: there is nothing to see in it", _DAMAGED)
        return to_input(config, image)


def _is_invisible(image: Image.Image) -> bool:
    """Whether every pixel is fully transparent."""
    if not image.has_transparency_data:
        return False
    shown = image if image.mode in ("LA", "PA", "RGBA") else image.convert("RGBA")
    return shown.getchannel("A").getextrema()[1] == 0


def _opened(config: VitConfig, file: BinaryIO) -> Image.Image:
    """An open picture that is not decoded yet; its size is that in which it will be decoded."""
    head = file.read(3)
    file.seek(0)
    if head != b"\xff\xd8\xff":
        return Image.open(file)
    by_rows = _decodes_by_rows(file)
    file.seek(0)
    image: Image.Image = JpegImagePlugin.jpeg_factory(file)  # no limit of Pillow's on pixels that are not decoded
    width, height = image.size
    if by_rows and width * height > LARGE:
        scale = next((s for s in (2, 4) if width * height <= LARGE * s * s), 8)
        while scale < 8 and min(width, height) >= 16 * config.size * scale:
            scale *= 2
        image.draft(None, (width // scale, height // scale))
    return image


def _decodes_by_rows(file: BinaryIO) -> bool:
    """Whether a JPEG can be decoded in little memory: a sequential one, with all components in one scan."""
    file.seek(2)
    components = 0
    while len(head := file.read(4)) == 4 and head[0] == 0xFF:
        length = int.from_bytes(head[2:], "big") - 2
        if head[1] in (0xC0, 0xC1):
            components = file.read(6)[-1:].ljust(1, b"\0")[0]
            length -= 6
        if head[1] == 0xDA:
            return file.read(1) == bytes([components])
        file.seek(max(0, length), os.SEEK_CUR)
    return False


def count(config: VitConfig, inputs: NDArray[np.uint8]) -> int:  # noqa: ARG001
    """Tokens of a picture; all have the same number."""
    return config.token_count


def _check_size(config: VitConfig, size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise RequestError(f"{name} has no pixels ({width} x {height})", _DAMAGED)
    if width * height > config.max_pixels:
        side = math.isqrt(config.max_pixels)
        raise RequestError(
            f"{name} is {width:,} x {height:,} = {width * height:,} pixels; at most {config.max_pixels:,} are read",
            f"make it at most {side:,} x {side:,} pixels, or save it as a baseline JPEG, which may be larger",
        )
    if max(size) > config.max_side:
        problem = f"{name} is {width:,} x {height:,} pixels; at most {config.max_side:,} a side are read"
        raise RequestError(problem, "make the picture smaller")


@contextlib.contextmanager
def _pillow_errors(name: str) -> Iterator[None]:
    """Turn any exception of Pillow's decoders into a RequestError of two lines. Its warnings are silenced, except the
    one about decompression bombs, which is an error: a picture may be larger than its header says."""
    try:
        with _READING, warnings.catch_warnings():
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
