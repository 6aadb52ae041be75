"""Runs the exported graph without PyTorch: log-mel to samples, streaming."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig
from muomni_newpart.config import NewpartConfig


class VocoderStream:
    """A :class:`muomni_cli.contract.speech.ArrayStream`; reusable after :meth:`finish`."""

    def __init__(self, run: GraphFn, config: NewpartConfig, mel: MelConfig) -> None:
        self._run, self._config, self._mel = run, config, mel
        self._begin()

    def _begin(self) -> None:
        shapes = self._config.memories(self._mel)
        self._past: dict[str, Any] = {f"past.{n}": np.zeros((1, *shape), np.float32) for n, shape in enumerate(shapes)}
        self._drop = self._config.lookahead * self._mel.hop  # samples before the first valid one

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feed (M,F) and return the (N,) samples that are now final."""
        if not len(piece):
            return np.zeros(0, np.float32)
        made = self._run({"mel": piece[None], **self._past})
        self._past = {name: made[name.replace("past", "present")] for name in self._past}
        samples: NDArray[np.float32] = made["samples"][0]
        drop = min(self._drop, samples.size)
        self._drop -= drop
        return samples[drop:]

    def finish(self) -> NDArray[np.float32]:
        """Return the remaining samples, with silence as lookahead."""
        shape = (self._config.lookahead, self._mel.n_mels)
        samples = self.push(np.full(shape, self._mel.silent_level, np.float32))
        self._begin()
        return samples


class NewpartRunner:
    """A :class:`muomni_cli.contract.speech.VocoderRunner`."""

    def __init__(self, config: NewpartConfig, graphs: Mapping[str, GraphFn], mel: MelConfig) -> None:
        self._config, self._graphs, self._mel = config, graphs, mel

    def stream(self) -> VocoderStream:
        """(M,F) log-mel that comes in pieces -> (N,) samples."""
        return VocoderStream(self._graphs["vocoder"], self._config, self._mel)
