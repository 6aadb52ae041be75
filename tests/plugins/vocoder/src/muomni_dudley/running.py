"""The vocoder's graph, run: samples of log-mel that comes in pieces. Knows no torch.

Shapes: M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn, MelConfig
from muomni_dudley.config import DudleyConfig


class Sounds:
    """A sound on its way, one frame late; a :class:`muomni_cli.contract.speech.ArrayStream`.

    Args:
        run: the graph ``vocoder``.
    """

    def __init__(self, run: GraphFn) -> None:
        self._run = run
        self._begin()

    def _begin(self) -> None:
        self._held: NDArray[np.float32] | None = None
        self._place = np.zeros(1, np.int64)

    def push(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take (M,F), give the samples up to the last of the frames."""
        if self._held is None and len(piece):
            self._held, piece = piece[:1], piece[1:]
        if self._held is None or not len(piece):
            return np.zeros(0, np.float32)
        made = self._run({"mel": piece[None], "held": self._held[None], "place": self._place})
        self._held, self._place = made["held_now"][0], made["place_now"]
        samples: NDArray[np.float32] = made["samples"][0]
        return samples

    def finish(self) -> NDArray[np.float32]:
        """The samples after the last frame, which is held."""
        samples = np.zeros(0, np.float32) if self._held is None else self.push(self._held)
        self._begin()
        return samples


class RunDudley:
    """A :class:`muomni_cli.contract.speech.VocoderRunner`.

    Args:
        config: of the vocoder.
        graphs: the open ``vocoder``.
        mel: of its codec.
    """

    def __init__(self, config: DudleyConfig, graphs: Mapping[str, GraphFn], mel: MelConfig) -> None:  # noqa: ARG002
        self._graphs: Any = graphs

    def stream(self) -> Sounds:
        """(M,F) log-mel that comes in pieces -> (N,) samples."""
        return Sounds(self._graphs["vocoder"])
