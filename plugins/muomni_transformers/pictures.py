"""Pictures as pretrained encoders were trained on: scaled to a square, or scaled and cut. Imports no torch.

The arithmetic is that of transformers' own image processors; their normalization is part of the model's graph.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from muomni_cli.api import RequestError
from muomni_cli.image.io import as_array, read_picture
from muomni_transformers.plugin import ImageEncoderConfig

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read(config: ImageEncoderConfig, file: BinaryIO, name: str) -> NDArray[np.uint8]:
    """A picture as (3,S,S) RGB, 0 to 255; otherwise as :func:`muomni_cli.image.io.read_picture`."""
    return as_array(fit(config, read_picture(config, file, name), name))


def fit(config: ImageEncoderConfig, image: Image.Image, name: str = "the picture") -> Image.Image:
    """An RGB picture as a square of side ``size``. RequestError if it is too long to be scaled before it is cut."""
    side, how = config.size, FILTERS[config.resample]
    if not config.resize:
        return image.resize((side, side), how)
    width, height = image.size
    short, long = config.resize, int(config.resize * max(width, height) / min(width, height))
    if long > config.max_side:
        raise RequestError(f"{name} is too long and narrow: {width:,} x {height:,} pixels", "cut out a part of it")
    scaled = image.resize((short, long) if width <= height else (long, short), how)
    left, top = (scaled.width - side) // 2, (scaled.height - side) // 2
    return scaled.crop((left, top, left + side, top + side))


def count(config: ImageEncoderConfig, inputs: NDArray[np.uint8]) -> int:  # noqa: ARG001
    """Tokens of a picture; all have the same number."""
    return config.token_count


def inputs(config: ImageEncoderConfig) -> dict[str, NDArray[np.uint8]]:
    """A random picture for benchmarks, as :func:`read` returns it."""
    side = config.size
    return {"one image": np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)}
