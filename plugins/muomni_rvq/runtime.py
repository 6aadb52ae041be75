"""The codec's graphs as a runner: samples to codes, and (streaming) codes to log-mel. Imports no torch.

Shapes: N samples, T code frames, M mel frames, F mel bins, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig
from muomni_rvq.plugin import CodecConfig


def encode(run: GraphFn, config: CodecConfig, wave: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N,) samples -> (T,Q) codes, the last frame padded with silence. ``run``: the graph ``encoder``."""
    padded = np.zeros((1, -(-wave.size // config.samples), config.samples), np.float32)
    padded.reshape(-1)[: wave.size] = wave
    if not wave.size:
        return np.zeros((0, config.codebooks), np.int64)
    return np.asarray(run({"waves": padded})["codes"][0])


class CodecDecoderStream:
    """Streaming (T,Q) codes -> (M,F) log-mel, through the graph ``decoder``; reusable after :meth:`finish`."""

    def __init__(self, run: GraphFn, config: CodecConfig) -> None:
        self._run, self._config = run, config
        self._begin()

    def push(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """(T,Q) codes -> (M,F) log-mel that is final with them; M may be 0."""
        return self._step(codes, 1.0) if len(codes) else self._nothing()

    def finish(self) -> NDArray[np.float32]:
        """(M,F): the rest."""
        late = self._config.lookahead
        made = self._step(np.zeros((late, self._config.codebooks), np.int64), 0.0) if late else self._nothing()
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
        given: dict[str, Any] = {
            "codes": codes[None].astype(np.int64),
            "real": np.full((1, len(codes)), real, np.float32),
        }
        made = self._run({**given, **self._past})
        self._past = {name: made[name.replace("past", "present")] for name in self._past}
        mel: NDArray[np.float32] = made["mel"][0]
        drop = min(self._drop, len(mel))
        self._drop -= drop
        return mel[drop:]

    def _nothing(self) -> NDArray[np.float32]:
        return np.zeros((0, self._config.mel.n_mels), np.float32)


class RvqRunner:
    """See :class:`muomni_cli.contract.speech.CodecRunner`."""

    def __init__(self, config: CodecConfig, graphs: Mapping[str, GraphFn]) -> None:
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
        return encode(self._graphs["encoder"], self._config, wave)

    def stream(self) -> CodecDecoderStream:
        return CodecDecoderStream(self._graphs["decoder"], self._config)
