"""The codec's graphs as a runner: samples to codes, and (streaming) codes to log-mel. Imports no torch.

Shapes: N samples, T code frames, M mel frames, F mel bins, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn
from muomni_rvq.plugin import CodecConfig


class CodecDecoderStream:
    """Streaming (T,Q) codes -> (M,F) log-mel, through the graph ``decoder``; reusable after :meth:`finish`."""

    def __init__(self, run: GraphFn, config: CodecConfig) -> None:
        self._run, self._config = run, config
        self._begin()

    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """(T,Q) codes -> (M,F) log-mel that is final with them; M may be 0."""
        return self._step(codes, 1.0)

    def finish(self) -> NDArray[np.float32]:
        """(M,F): the rest."""
        made = self._step(np.zeros((self._config.lookahead, self._config.codebooks), np.int64), 0.0)
        self._begin()
        return made

    def _begin(self) -> None:
        config, reach = self._config, self._config.kernel - 1
        widths = [config.width] * config.decoder_layers + [config.fine_width] * config.fine_layers
        self._past: dict[str, Any] = {
            f"past.{number}": np.zeros((1, reach, width), np.float32) for number, width in enumerate(widths)
        }
        self._drop = config.lookahead * config.frame

    def _step(self, codes: NDArray[Any], real: float) -> NDArray[np.float32]:
        """``real``: 1 for frames, 0 for the silence after them."""
        if not len(codes):
            return np.zeros((0, self._config.mel.n_mels), np.float32)
        factors = np.full((1, len(codes)), real, np.float32)
        made = self._run({"codes": codes[None].astype(np.int64), "real": factors, **self._past})
        self._past = {name: made[name.replace("past", "present")] for name in self._past}
        mel: NDArray[np.float32] = made["mel"][0]
        drop = min(self._drop, len(mel))
        self._drop -= drop
        return mel[drop:]


class RvqRunner:
    """A :class:`muomni_cli.contract.speech.CodecRunner`."""

    def __init__(self, config: CodecConfig, graphs: Mapping[str, GraphFn]) -> None:
        self._config, self._graphs = config, graphs
        self.mel, self.frame, self.codebook_size = config.mel, config.frame, config.codebook_size

    def encode(self, wave: NDArray[np.float32]) -> NDArray[np.int64]:
        """(N,) samples -> (T,Q) codes, the last frame padded with silence."""
        if not wave.size:
            return np.zeros((0, self._config.codebooks), np.int64)
        padded = np.zeros((1, -(-wave.size // self._config.samples), self._config.samples), np.float32)
        padded.reshape(-1)[: wave.size] = wave
        return np.asarray(self._graphs["encoder"]({"waves": padded})["codes"][0])

    def stream(self) -> CodecDecoderStream:
        return CodecDecoderStream(self._graphs["decoder"], self._config)
