"""What the speed of the audio encoder is measured with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muomni_listener.config import ListenerConfig


def inputs(config: ListenerConfig) -> dict[str, NDArray[np.float32]]:
    """Noise as :func:`muomni_cli.sound.reading.read` gives sounds: what is heard does not change how long it takes."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=60 * config.sample_rate).astype(np.float32)
    return {"one second": noise[: config.sample_rate], "one minute": noise}
