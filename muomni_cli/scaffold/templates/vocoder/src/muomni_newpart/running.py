"""The graph, run: samples of log-mel that comes in pieces. Knows no torch.

Shapes: M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import MelConfig, Run
from muomni_newpart.config import NewpartConfig


class Sounds:
    """A :class:`muomni_cli.api.Flow` from (M,F) log-mel to (N,) samples; after the end of a sound another begins."""

    _past: dict[str, NDArray[np.float32]]
    _drop: int

    def __init__(self, run: Run, config: NewpartConfig, mel: MelConfig) -> None:
        self._run, self._config, self._mel = run, config, mel
        self._begin()

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (M,F), give the samples that no later mel changes."""
        if not len(piece):
            return np.zeros(0, np.float32)
        made = self._run({"mel": piece[None].astype(np.float32), **self._past})
        self._past = {name: made[name.replace("past", "present")] for name in self._past}
        samples: NDArray[np.float32] = made["samples"][0]
        drop = min(self._drop, samples.size)
        self._drop -= drop
        return samples[drop:]

    def finish(self) -> NDArray[np.float32]:
        """The samples that are left."""
        silence = np.full((self._config.lookahead, self._mel.n_mels), math.log(self._mel.mel_floor), np.float32)
        made = self.push(silence)
        self._begin()
        return made

    def _begin(self) -> None:
        reach, widths = self._config.kernel - 1, [self._mel.n_mels] + [self._config.channels] * self._config.layers
        self._past = {f"past.{n}": np.zeros((1, reach, width), np.float32) for n, width in enumerate(widths)}
        self._drop = self._config.lookahead * self._mel.hop


class RunVocoder:
    """See :class:`muomni_cli.api.RunVocoder`."""

    def __init__(self, config: NewpartConfig, graphs: Mapping[str, Run], mel: MelConfig) -> None:
        self._given: tuple[Any, ...] = (graphs["vocoder"], config, mel)

    def stream(self) -> Sounds:
        """A new sound."""
        return Sounds(*self._given)
