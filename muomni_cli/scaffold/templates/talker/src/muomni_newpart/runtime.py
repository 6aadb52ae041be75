"""Runs the exported graphs without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, GraphFn, Sampler, TextChunk, VoiceSettings
from muomni_newpart.config import NewpartConfig
from muomni_newpart.synthesis import speak


class NewpartRunner:
    """A :class:`muomni_cli.contract.speech.SpeechGenerator`, and its own :class:`muomni_newpart.synthesis.Engine`."""

    def __init__(
        self,
        config: NewpartConfig,
        graphs: Mapping[str, GraphFn],
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,  # noqa: ARG002
    ) -> None:
        self.config, self.codes = config, codes
        self.voices: Sequence[str] = tuple(voices)
        self._graphs = graphs

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        return speak(self, text, voice_settings, sampler)

    def read(self, ids: NDArray[Any], voice: int) -> tuple[NDArray[Any], NDArray[Any]]:
        made = self._graphs["reader"]({"ids": ids[None], "voice": np.array([voice])})
        return made["features"][0], made["lasting"][0]

    def begin(self) -> dict[str, NDArray[Any]]:
        shape = (1, self.config.kernel - 1, self.config.d_model)
        return {f"past.{number}": np.zeros(shape, np.float32) for number in range(self.config.layers)}

    def step(
        self, under: NDArray[Any], elapsed: float, before: NDArray[Any], memory: dict[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        share = np.array([[elapsed]], np.float32)
        given = {"under": under[None, None], "elapsed": share, "before": before[None, None]}
        made = self._graphs["frames"]({**given, **memory})
        return made["states"][0, 0], {name: made[name.replace("past", "present")] for name in memory}

    def logits(self, state: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
        logits: NDArray[Any] = self._graphs["heads"]({"states": state[None], "codes": codes[None]})["logits"][0]
        return logits
