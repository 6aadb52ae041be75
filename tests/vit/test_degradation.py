"""Training pictures as people have them: each setting does what it says, and unset ones do nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydantic import ValidationError

from muomni_vit.degradation import degraded
from muomni_vit.plugin import ImageAugmentConfig, VitConfig


def picture(ground: int = 90) -> NDArray[np.uint8]:
    image = Image.new("RGB", (64, 64), (ground, ground, ground))
    ImageDraw.Draw(image).rectangle((20, 24, 39, 43), fill=(220, 30, 30))
    return np.asarray(image).transpose(2, 0, 1)


def made(seed: int = 0, fit: Any = "pad", **augment: Any) -> NDArray[np.uint8]:
    config = VitConfig(size=64, patch=8, fit=fit, augment=ImageAugmentConfig(**augment))
    return degraded(picture(), config, np.random.default_rng(seed))


def red(pixels: NDArray[np.uint8]) -> int:
    """How many pixels are red."""
    return int(((pixels[0] > 150) & (pixels[1] < 120)).sum())


@pytest.mark.parametrize("seed", range(10))
def test_each_setting_does_what_it_says(seed: int) -> None:
    np.testing.assert_array_equal(made(seed), picture())
    gray = made(seed, gray=1.0)
    assert (gray[0] == gray[1]).all()
    assert np.abs(made(seed, jpeg=1.0, jpeg_quality=(40, 40)).astype(int) - picture()).max() > 1
    assert red(made(seed, jpeg=1.0)) == pytest.approx(400, abs=80)
    blurred = made(seed, blur=1.0, blur_radius=3.0)
    assert np.abs(np.diff(blurred[1].astype(int))).max() <= np.abs(np.diff(picture()[1].astype(int))).max()
    both = {"oblong": 0.5, "gray": 0.2, "blur": 0.5, "jpeg": 0.5}
    np.testing.assert_array_equal(made(seed, **both), made(seed, **both))


@pytest.mark.parametrize("seed", range(20))
def test_an_oblong_picture_is_read_as_people_s_are(seed: int) -> None:
    padded = made(seed, oblong=1.0, aspect=2.0)
    assert 80 <= red(padded) <= 420, "between bars it is smaller, and whole"
    assert red(made(seed, "extend", oblong=1.0, aspect=2.0)) == pytest.approx(400, abs=45), "plain ends are cut"


def test_degraded_pictures_are_made_only_if_asked_for() -> None:
    assert not ImageAugmentConfig(shift=3, flip=0.5, erase=0.5).degrades
    assert ImageAugmentConfig(jpeg=0.1).degrades
    with pytest.raises(ValidationError, match="above its end"):
        ImageAugmentConfig(jpeg_quality=(90, 30))
