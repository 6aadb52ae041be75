"""Graphs of pretrained vocoders as runners. Imports no torch.

Shapes: M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from muomni_cli.api import GraphFn, MelConfig
from muomni_cli.audio.context_stream import ContextStream, RowStream
from muomni_transformers.speech_settings import HifiGanConfig, VocosCheckpointConfig

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
