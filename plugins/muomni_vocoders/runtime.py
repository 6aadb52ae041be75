"""The vocoders' graphs as runners: streaming log-mel to samples. Imports no torch.

Shapes: M mel frames, F mel bins, K frequencies, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig, PartConfig
from muomni_vocoders.plugin import GriffinLimConfig, VocosConfig


class _VocoderRunnerStream:
    """Streaming (M,F) log-mel -> (N,) samples, reusable after :meth:`finish`: the state of the graph, and the samples
    before the start, which are dropped."""

    _config: Any

    def __init__(self, run: GraphFn, config: PartConfig, mel: MelConfig) -> None:
        self._run, self._config, self.mel = run, config, mel
        self._begin()

    def _states(self) -> dict[str, Any]:
        size = self.mel.window - self.mel.hop
        return {"tail": np.zeros((1, size), np.float32), "weight": np.zeros((1, size), np.float32)}

    def _begin(self) -> None:
        self._now = self._states()
        self._rest = np.zeros(0, np.float32)
        self._drop = self.mel.window // 2
        self._owed = 0  # samples of the pushed mel that were not returned yet

    def _step(self, given: Mapping[str, Any]) -> NDArray[np.float32]:
        made = self._run({**given, **self._now})
        self._now = {
            name: made[name.replace("past", "present") if name.startswith("past.") else f"{name}_now"]
            for name in self._now
        }
        self._rest = made["rest"][0]
        return self._given(made["samples"][0])

    def _given(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples inside of the audio."""
        drop = min(self._drop, samples.size)
        self._drop -= drop
        kept = samples[drop : drop + self._owed]
        self._owed -= kept.size
        return kept

    def _ended(self) -> NDArray[np.float32]:
        """The samples after the last block; silence beyond them."""
        rest = self._given(self._rest)
        silence = np.zeros(self._owed, np.float32)
        self._begin()
        return np.concatenate([rest, silence])


class VocosRunnerStream(_VocoderRunnerStream):
    """Vocos' stream: late by its lookahead."""

    _config: VocosConfig
    _late: int

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M,F) -> the (N,) samples that no later mel changes."""
        self._owed += len(piece) * self.mel.hop
        return self._take(piece)

    def finish(self) -> NDArray[np.float32]:
        silence = np.full((self._config.lookahead, self.mel.n_mels), self.mel.silent_level, np.float32)
        made = self._take(silence) if self._owed else silence[:0, 0]
        return np.concatenate([made, self._ended()])

    def _take(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(piece):
            return np.zeros(0, np.float32)
        late = min(self._late, len(piece))
        self._late -= late
        real = (np.arange(len(piece)) >= late).astype(np.float32)
        return self._step({"mel": piece[None], "real": real[None]})

    def _begin(self) -> None:
        super()._begin()
        self._late = self._config.lookahead
        self._drop += self._late * self.mel.hop

    def _states(self) -> dict[str, Any]:
        config, bins = self._config, self.mel.n_mels
        widths = [bins] + [config.channels] * config.layers
        past = {f"past.{n}": np.zeros((1, config.kernel - 1, width), np.float32) for n, width in enumerate(widths)}
        held = np.zeros((1, config.lookahead, bins), np.float32)
        return {**super()._states(), "held": held, "turn": np.zeros(1, np.int64), **past}


class GriffinLimRunnerStream(_VocoderRunnerStream):
    """Griffin-Lim's stream, on its fixed grid of blocks."""

    _config: GriffinLimConfig
    _size: int
    _mel: NDArray[np.float32]  # not yet rendered

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """(M,F) -> the (N,) samples of the blocks that are complete with it."""
        self._owed += len(piece) * self.mel.hop
        self._mel = np.concatenate([self._mel, piece])
        made = [np.zeros(0, np.float32)]
        while len(self._mel) >= self._size + self._config.lookahead:
            made.append(self._block(self._size, self._config.lookahead))
            self._size = min(2 * self._size, self._config.block)
        return np.concatenate(made)

    def finish(self) -> NDArray[np.float32]:
        made = [self._block(len(self._mel), 0)] if len(self._mel) else []
        return np.concatenate([*made, self._ended()])

    def _block(self, done: int, ahead: int) -> NDArray[np.float32]:
        mel = self._mel
        self._mel = mel[done:]
        return self._step({"mel": mel[None, :done], "ahead": mel[None, done : done + ahead]})

    def _begin(self) -> None:
        super()._begin()
        self._size = min(self._config.first, self._config.block)
        self._mel = np.zeros((0, self.mel.n_mels), np.float32)

    def _states(self) -> dict[str, Any]:
        double = 2 * (self.mel.n_fft // 2 + 1)
        found = {"last": np.zeros((1, double), np.float32), "known": np.zeros((1, double, 0), np.float32)}
        return {**super()._states(), **found}


class _VocoderRunner:
    """A :class:`muomni_cli.contract.speech.VocoderRunner`."""

    _streams: type[VocosRunnerStream | GriffinLimRunnerStream]

    def __init__(self, config: PartConfig, graphs: Mapping[str, GraphFn], mel: MelConfig) -> None:
        self._config, self._graphs, self._mel = config, graphs, mel

    def stream(self) -> VocosRunnerStream | GriffinLimRunnerStream:
        return self._streams(self._graphs["vocoder"], self._config, self._mel)


class VocosRunner(_VocoderRunner):
    _streams = VocosRunnerStream


class GriffinLimRunner(_VocoderRunner):
    _streams = GriffinLimRunnerStream
