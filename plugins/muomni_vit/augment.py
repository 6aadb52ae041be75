"""Pictures made different in training: moved, mirrored, with a piece cut out. Knows pixels and settings, no network.

All that is random is drawn from the generator that is handed in, on the host, so the same generator gives the same
pictures. Shapes: B batch, S side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_vit.config import AugmentConfig

Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happens to each of B pictures: the row and the column of the old picture that every new one shows, (B,S)
    each, and the rectangles that are cut out, (B,4): top, bottom, left, right (ends not included)."""

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    holes: NDArray[np.int64]

    def share(self, part: slice) -> Changes:
        """Those of some of the pictures."""
        return Changes(self.rows[part], self.columns[part], self.holes[part])


def drawn(batch: int, size: int, config: AugmentConfig, rng: np.random.Generator) -> Changes:
    """Changes of ``batch`` pictures of side ``size``."""
    places = np.arange(size)
    down, right = rng.integers(-config.shift, config.shift + 1, (2, batch, 1))
    flipped = rng.random((batch, 1)) < config.flip
    columns = np.where(flipped, places[::-1], places) + right
    sides = 1 + (rng.random((batch, 2)) * config.erase_width * size).astype(np.int64).clip(0, size - 1)
    sides *= rng.random((batch, 1)) < config.erase
    begins = (rng.random((batch, 2)) * (size - sides + 1)).astype(np.int64)
    holes = np.stack([begins, begins + sides], axis=2).reshape(batch, 4)
    return Changes((places + down).clip(0, size - 1), columns.clip(0, size - 1), holes)


def changed(pictures: Pictures, changes: Changes, fill: NDArray[np.uint8]) -> Pictures:
    """(B,3,S,S) pictures as ``changes`` have them; ``fill`` (3,) is the colour of holes."""
    row = np.arange(len(pictures))[:, None, None]
    # Pixel by pixel, with the colours last: one gather of three bytes is cheaper than three of one.
    moved = pictures.transpose(0, 2, 3, 1)[row, changes.rows[:, :, None], changes.columns[:, None]]
    for picture, (top, bottom, left, right) in zip(moved, changes.holes, strict=True):
        picture[top:bottom, left:right] = fill
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))
