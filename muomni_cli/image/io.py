"""Read pictures as upright RGB: size limits, decoding with Pillow, orientation, conversion of every mode.

Used alike by training, chat and exported models; what fits a picture to an encoder's square is the encoder's own.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Iterator
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, ImageOps, JpegImagePlugin, UnidentifiedImageError

from muomni_cli.core import console
from muomni_cli.core.errors import RequestError

_WHITE = (255, 255, 255)
_READABLE = "give a picture such as a PNG, JPEG, WebP, GIF, BMP or TIFF file"
_DAMAGED = "open and save it again in an image editor, or give another picture"

LARGE = 1 << 24
"""Pixels beyond which a picture is reduced before it is resized: a JPEG in decoding, others by averaging blocks."""
STRIP = 1 << 20  # pixels that are converted to RGB at once
_READING = threading.Lock()  # the filters of warnings are those of all threads


class PictureLimits(Protocol):
    """How pictures are read: for an encoder's square of side ``size``, up to these limits."""

    @property
    def size(self) -> int: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def max_side(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...


def upright_rgb(size: int, image: Image.Image) -> Image.Image:
    """Any picture as RGB, rotated according to its EXIF data; a large one is reduced, to four times ``size`` or more.
    Raises RequestError: gray values are out of range."""
    return _upright(image, _rgb_strips(size, image))


def read_picture(config: PictureLimits, file: BinaryIO, name: str) -> Image.Image:
    """A picture as upright RGB over white.

    Accepts anything Pillow decodes: applies the EXIF orientation, takes the first frame. Size limits are checked
    against the header before decoding; memory stays below some 8 bytes for each pixel that is decoded. A large JPEG is
    decoded at a half to an eighth of its size. ``file`` must be seekable; ``name`` stands for it in messages. Raises
    RequestError: not a picture, damaged, or beyond a limit.
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
        return upright_rgb(config.size, image)


def as_array(square: Image.Image) -> NDArray[np.uint8]:
    """An RGB picture as (3,H,W)."""
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def _rgb_strips(size: int, image: Image.Image) -> Image.Image:
    """:func:`to_rgb`, strip by strip, so that little more than the picture itself is in memory; a large one is reduced
    to four times ``size`` or more."""
    (width, height), bits = image.size, _gray_bits(image)
    factor = max(1, min(width, height) // (4 * size)) if width * height > LARGE else 1
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


def _is_invisible(image: Image.Image) -> bool:
    """Whether every pixel is fully transparent."""
    if not image.has_transparency_data:
        return False
    shown = image if image.mode in ("LA", "PA", "RGBA") else image.convert("RGBA")
    return shown.getchannel("A").getextrema()[1] == 0


def _opened(config: PictureLimits, file: BinaryIO) -> Image.Image:
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


def _check_size(config: PictureLimits, size: tuple[int, int], name: str) -> None:
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
