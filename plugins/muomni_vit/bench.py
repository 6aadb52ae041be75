"""What the speed of the vision transformer is measured with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_vit.config import VitConfig


def inputs(config: VitConfig) -> dict[str, NDArray[np.uint8]]:
    """One picture of random colours, as :func:`muomni_vit.reading.read` gives them."""
    side = config.size
    return {"one image": np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)}
