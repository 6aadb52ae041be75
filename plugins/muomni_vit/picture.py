"""From any picture in memory to the encoder's input: eight bits, RGB over white, one square.

Knows Pillow's images, neither files nor the model. Drawn pictures and arrays come this way as well, so that they are
treated like files.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from muomni_cli.api import RequestError
from muomni_vit.config import VitConfig

_WHITE = (255, 255, 255)


def to_input(config: VitConfig, image: Image.Image) -> NDArray[np.uint8]:
    """Any picture -> (3,S,S) red, green and blue, 0 to 255.

    Raises:
        RequestError: its numbers are no brightness.
    """
    square = fit(config, to_rgb(image))
    return np.ascontiguousarray(np.asarray(square, dtype=np.uint8).transpose(2, 0, 1))


def to_rgb(image: Image.Image) -> Image.Image:
    """RGB with 8 bits a channel; transparent parts are over white, the paper that most such pictures are made for.

    Embedded colour profiles are not applied: numbers are taken as sRGB, CMYK as its complement.

    Raises:
        RequestError: its numbers are no brightness.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _grey(image)
    if image.has_transparency_data:
        # La and PA have no direct way to RGBA.
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

    ``pad``, the default, scales the longer side to the square and centres the picture between bars of the mean colour,
    which the model sees as nothing: all of the picture is there and no shape is bent, and both are needed to say what
    is at the edge, which thing is left, or whether it is a circle. ``crop`` scales the shorter side and keeps the
    centre; ``stretch`` scales each side by itself.
    """
    side, (width, height) = config.size, image.size
    square = (side, side)
    if config.fit == "stretch" or width == height:
        return image if image.size == square else image.resize(square, Image.Resampling.BICUBIC)
    if config.fit == "crop":
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        return image.crop((left, top, left + short, top + short)).resize(square, Image.Resampling.BICUBIC)
    long = max(width, height)
    scaled = (max(1, round(width * side / long)), max(1, round(height * side / long)))
    red, green, blue = (round(255 * share) for share in config.mean)
    page = Image.new("RGB", square, (red, green, blue))
    inner = image.resize(scaled, Image.Resampling.BICUBIC)
    page.paste(inner, ((side - scaled[0]) // 2, (side - scaled[1]) // 2))
    return page


def _grey(image: Image.Image) -> Image.Image:
    """8-bit grey of 16-bit grey (the upper byte, as Pillow does for 16-bit colour) or of floats from 0 to 1.

    Raises:
        RequestError: numbers outside; which of them is white is anyone's guess.
    """
    values = np.asarray(image)
    low, high, white = values.min(), values.max(), 1 if image.mode == "F" else 65_535
    if not (low >= 0 and high <= white):  # so written, NaN is refused
        raise RequestError(
            f"the picture's grey values go from {low} to {high}, not from 0 to {white}",
            "save it with 8 or 16 bits a channel",
        )
    bytes_ = np.rint(values * 255) if image.mode == "F" else values >> 8
    return Image.fromarray(bytes_.astype(np.uint8))
