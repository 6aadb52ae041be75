"""Graphs of pretrained vocoders and codecs as runners. Imports no torch.

Shapes: M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig
from muomni_cli.audio.context_stream import ContextStream, RowStream
from muomni_cli.audio.dsp import whole_frames
from muomni_transformers.speech_settings import EncodecConfig, HifiGanConfig, MimiConfig, VocosCheckpointConfig

BLOCK = 64  # mel frames of the largest block that is computed at once


class ContextRunner:
    """A :class:`muomni_cli.contract.speech.VocoderRunner`."""

    def __init__(
        self, config: HifiGanConfig | VocosCheckpointConfig, graphs: Mapping[str, GraphFn], mel: MelConfig
    ) -> None:
        self._config, self._graphs, self._mel = config, graphs, mel

    def stream(self) -> RowStream:
        """Chunks of (M,F) log-mel -> (N,) samples, as of the modules."""
        return RowStream(
            ContextStream(
                self._run,
                self._mel.hop,
                before=self._config.reach,
                after=self._config.reach,
                most=BLOCK,
                nothing=np.zeros((1, 0), np.float32),
                join=partial(np.concatenate, axis=1),
            )
        )

    def _run(self, mel: Any) -> Any:
        return self._graphs["vocoder"]({"mel": mel})["samples"]


class CodecRunner:
    """A :class:`muomni_cli.contract.codecs.WaveCodecRunner`."""

    def __init__(self, config: MimiConfig | EncodecConfig, graphs: Mapping[str, GraphFn]) -> None:
        self._config, self._graphs = config, graphs
        self.sample_rate, self.frame, self.codebook_size = config.sample_rate, config.frame, config.codebook_size

    def encode(self, wave: NDArray[Any]) -> NDArray[Any]:
        """(N,) samples -> (T,Q) codes; the last frame is padded with silence."""
        if not wave.size:
            return np.zeros((0, self._config.codebooks), np.int64)
        frames = whole_frames(wave, self.frame).reshape(1, -1, self.frame)
        return np.asarray(self._graphs["encoder"]({"waves": frames})["codes"][0])

    def stream(self) -> RowStream:
        """Chunks of (T,Q) codes -> (N,) samples, each block with all codes before it."""
        nothing, join = np.zeros((1, 0), np.float32), partial(np.concatenate, axis=1)
        stream = ContextStream(self._run, self.frame, before=None, after=0, most=None, nothing=nothing, join=join)
        return RowStream(stream)

    def _run(self, codes: Any) -> Any:
        return self._graphs["decoder"]({"codes": codes.astype(np.int64)})["samples"]
