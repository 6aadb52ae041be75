"""Training pictures as people have them: not square, blurred, gray, compressed as JPEG.

The randomness comes from a NumPy generator that is passed in, so the same generator gives the same pictures.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from muomni_vit.plugin import VitConfig
from muomni_vit.preprocessing import fit


def degraded(picture: NDArray[np.uint8], config: VitConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A (3,S,S) picture, changed as ``config.augment`` says."""
    augment = config.augment
    oblong, gray, blurred, jpeg = rng.random(4) < (augment.oblong, augment.gray, augment.blur, augment.jpeg)
    image = Image.fromarray(picture.transpose(1, 2, 0))
    if oblong:
        image = fit(config, widened(image, rng.uniform(1, augment.aspect), rng))
    if gray:
        image = image.convert("L").convert("RGB")
    if blurred:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, augment.blur_radius)))
    if jpeg:
        low, high = augment.jpeg_quality
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(rng.integers(low, high + 1)))
        image = Image.open(file)
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def widened(image: Image.Image, aspect: float, rng: np.random.Generator) -> Image.Image:
    """A square picture at a random place of one that is ``aspect`` times as wide or as high and continues its edges."""
    added, high = round(image.width * (aspect - 1)), rng.random() < 0.5
    before = int(rng.integers(0, added + 1))
    around = ((before, added - before), (0, 0)) if high else ((0, 0), (before, added - before))
    return Image.fromarray(np.pad(np.asarray(image), (*around, (0, 0)), mode="edge"))
