"""From a file to the encoder's input: limits, decoding, the right way up. The same for training, chat and export.

Knows files and Pillow, no torch. Colours and fitting to the square are in :mod:`muomni_vit.picture`; subtracting the
mean and dividing by the deviation happens inside the model, so that an exported graph carries it.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from muomni_cli.api import RequestError
from muomni_vit.config import VitConfig
from muomni_vit.picture import to_input

_READABLE = "give a picture such as a PNG, JPEG, WebP, GIF, BMP or TIFF file"
_DAMAGED = "open and save it again in an image editor, or give another picture"
_RUNS_PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow reads by running another program on the file."""


def read(config: VitConfig, file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """A picture as (3,S,S) red, green and blue, 0 to 255: one input of :class:`muomni_vit.model.Vit`.

    Anything Pillow decodes: turned upright as its EXIF data say, the first frame if it moves, transparent parts over
    white, grey and other colours as RGB, 16 bits cut to 8, fitted to the square as ``config.fit`` says. Size limits
    are checked against the header, before anything is decoded; memory stays below some 16 bytes a pixel.

    Args:
        config: the encoder's.
        file: can seek.
        name: stands for the file in messages.

    Raises:
        RequestError: not a picture, damaged, or beyond a limit.
    """
    _check_bytes(config, file, name)
    with _quiet_pillow(), _refusing(name), Image.open(file) as image:
        if image.format in _RUNS_PROGRAMS:
            raise RequestError(f"{name} is {image.format}, which takes another program to read", _READABLE)
        _check_size(config, image.size, name)
        image.draft(None, (2 * config.size, 2 * config.size))  # lets a large JPEG be decoded at half size or less
        image.load()
        _turn_upright(image)
        return to_input(config, image)


def count(config: VitConfig, inputs: NDArray[np.uint8]) -> int:  # noqa: ARG001
    """Tokens of one picture: of any."""
    return config.token_count


def _check_bytes(config: VitConfig, file: BinaryIO, name: str) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size > config.max_bytes:
        raise RequestError(
            f"{name} has {size:,} bytes; at most {config.max_bytes:,} are read",
            "make the picture smaller, or raise max_bytes of the image encoder",
        )


def _check_size(config: VitConfig, size: tuple[int, int], name: str) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise RequestError(f"{name} has no pixels ({width} x {height})", _DAMAGED)
    if width * height > config.max_pixels:
        raise RequestError(
            f"{name} is {width:,} x {height:,} = {width * height:,} pixels; at most {config.max_pixels:,} are read",
            "make the picture smaller, or raise max_pixels of the image encoder",
        )
    if max(size) > config.max_side:
        raise RequestError(
            f"{name} is {width:,} x {height:,} pixels; at most {config.max_side:,} a side are read",
            "make the picture smaller, or raise max_side of the image encoder",
        )


def _turn_upright(image: Image.Image) -> None:
    """As the EXIF orientation says; where those data are broken the picture stays as it is stored."""
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """No warnings of Pillow's on stderr; the one about decompression bombs is an error, also for a picture that turns
    out to be larger than its header said."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@contextlib.contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turn whatever some forty decoders raise on damaged files into one line."""
    try:
        yield
    except RequestError:
        raise
    except UnidentifiedImageError as error:
        raise RequestError(f"{name} is not a picture that can be read", _READABLE) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RequestError(f"{name} has too many pixels: {_line(error)}", "make the picture smaller") from error
    except Exception as error:
        raise RequestError(f"{name} is damaged: {_line(error)}", _DAMAGED) from error


def _line(error: Exception) -> str:
    """The first words of an exception, on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
