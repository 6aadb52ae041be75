"""Runs the exported graphs without PyTorch: samples to codes, and codes to log-mel, streaming.

Shapes: N samples, T code frames, M mel frames, F mel bins, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig
from muomni_newpart.config import NewpartConfig


class CodecStream:
    """A :class:`muomni_cli.contract.speech.ArrayStream` from (T,Q) codes to (M,F) log-mel."""

    _past: dict[str, NDArray[np.float32]]

    def __init__(self, run: GraphFn, config: NewpartConfig) -> None:
        self._run, self._config = run, config
        self._begin()

    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Feed (T,Q) codes and return (M,F) log-mel."""
        if not len(codes):
            return np.zeros((0, self._config.mel.n_mels), np.float32)
        made = self._run({"codes": codes[None].astype(np.int64), **self._past})
        self._past = {name: made[name.replace("past", "present")] for name in self._past}
        mel: NDArray[np.float32] = made["mel"][0]
        return mel

    def finish(self) -> NDArray[np.float32]:
        """End the sound; nothing is left, since the decoder has no lookahead."""
        self._begin()
        return np.zeros((0, self._config.mel.n_mels), np.float32)

    def _begin(self) -> None:
        shape = (1, self._config.kernel - 1, self._config.width)
        self._past = {f"past.{number}": np.zeros(shape, np.float32) for number in range(self._config.layers)}


class CodecRunner:
    """A :class:`muomni_cli.contract.speech.CodecRunner` on the exported graphs."""

    def __init__(self, config: NewpartConfig, graphs: Mapping[str, GraphFn]) -> None:
        self._config, self._graphs = config, graphs

    @property
    def mel(self) -> MelConfig:
        return self._config.mel

    @property
    def frame(self) -> int:
        return self._config.frame

    @property
    def codebook_size(self) -> int:
        return self._config.codebook_size

    def encode(self, wave: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) samples -> (T,Q) codes; the last frame is padded with silence."""
        frames = -(-wave.size // self._config.samples)
        if not frames:
            return np.zeros((0, self._config.codebooks), np.int64)
        padded = np.pad(wave.astype(np.float32), (0, frames * self._config.samples - wave.size))
        codes: NDArray[np.int64] = self._graphs["encoder"]({"waves": padded.reshape(1, frames, -1)})["codes"][0]
        return codes

    def stream(self) -> CodecStream:
        """(T,Q) codes that come in pieces -> (M,F) log-mel."""
        return CodecStream(self._graphs["decoder"], self._config)
