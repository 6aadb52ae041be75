"""Pictures made different in training: what may change in them, and what may not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from muomni_vit.objective import changed, drawn
from muomni_vit.plugin import ImageAugmentConfig

GRAY = np.array([1, 2, 3], np.uint8)
FULL = ImageAugmentConfig(shift=3, flip=0.5, erase=0.5)


def pictures(rows: int = 6, size: int = 12) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(10, 256, (rows, 3, size, size), dtype=np.uint8)


def varied(config: ImageAugmentConfig, seed: int = 0, rows: int = 6) -> NDArray[np.uint8]:
    batch = pictures(rows)
    return changed(batch, drawn(rows, 12, config, np.random.default_rng(seed)), GRAY)


def test_nothing_is_changed_unless_it_is_asked_for() -> None:
    assert np.array_equal(varied(ImageAugmentConfig()), pictures())


def test_a_generator_gives_the_same_pictures_and_another_one_others() -> None:
    assert np.array_equal(varied(FULL), varied(FULL))
    assert not np.array_equal(varied(FULL), varied(FULL, seed=1))
    assert varied(FULL).flags["C_CONTIGUOUS"]


def test_a_share_of_the_changes_is_what_happens_to_these_pictures() -> None:
    whole = drawn(6, 12, FULL, np.random.default_rng(5))
    parts = [changed(pictures()[part], whole.share(part), GRAY) for part in (slice(0, 2), slice(2, 6))]
    assert np.array_equal(np.concatenate(parts), changed(pictures(), whole, GRAY))


def test_a_mirror_mirrors_every_picture_and_half_of_them_about_half() -> None:
    assert np.array_equal(varied(ImageAugmentConfig(flip=1)), pictures()[..., ::-1])
    half = varied(ImageAugmentConfig(flip=0.5), rows=400)
    flipped = (half == pictures(400)[..., ::-1]).all((1, 2, 3))
    assert (flipped | (half == pictures(400)).all((1, 2, 3))).all()
    assert 0.4 < flipped.mean() < 0.6


def test_a_moved_picture_is_the_old_one_with_its_edges_drawn_out() -> None:
    padded = np.pad(pictures(200), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="edge")
    places = set()
    for row, picture in enumerate(varied(ImageAugmentConfig(shift=3), rows=200)):
        at = [
            (down, right)
            for down in range(7)
            for right in range(7)
            if np.array_equal(picture, padded[row, :, down : down + 12, right : right + 12])
        ]
        assert len(at) == 1
        places.add(at[0])
    assert len(places) > 40  # of 49


@pytest.mark.parametrize("width", [0.05, 0.5, 1.0])
def test_holes_are_rectangles_of_the_color_that_is_given(width: float) -> None:
    cut = (varied(ImageAugmentConfig(erase=1, erase_width=width), rows=100) < 10).all(1)  # (100,12,12)
    assert np.array_equal(cut, cut.any(2)[:, :, None] & cut.any(1)[:, None])
    sides = np.stack([cut.any(2).sum(1), cut.any(1).sum(1)])
    assert sides.min() >= 1
    assert sides.max() <= 1 + width * 12
    shared = (varied(ImageAugmentConfig(erase=0.3), rows=400) < 10).any((1, 2, 3))
    assert 0.2 < shared.mean() < 0.4
