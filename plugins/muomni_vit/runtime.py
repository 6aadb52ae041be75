"""Inference without PyTorch: captions as bytes, scores to answers for each task, and running the exported graphs.

Shapes: B pictures, S side, C classes, U texts, L bytes of a text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn
from muomni_vit.plugin import VitConfig

END, HIDDEN = 256, 257  # end of text (also padding), and a hidden byte
SPACE = ord(" ")
SYMBOLS = 258  # size of the vocabulary: bytes, END and HIDDEN

Score = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.floating]]
"""Computes the head's scores of B pictures from its other inputs."""


def spelled(texts: Sequence[str], longest: int) -> NDArray[np.int64]:
    """(B,1+L) the bytes of each text, at most ``longest``, followed by at least one :data:`END`."""
    rows = [text.encode("utf-8")[:longest] for text in texts]
    symbols = np.full((len(rows), 1 + max(map(len, rows), default=0)), END, np.int64)
    for row, text in zip(symbols, rows, strict=True):
        row[: len(text)] = list(text)
    return symbols


def read(symbols: Sequence[int]) -> str:
    """The text before the first :data:`END`."""
    text = takewhile(lambda symbol: symbol != END, symbols)
    return bytes(symbol for symbol in text if symbol < END).decode("utf-8", "replace")


class AnswerMode(ABC):
    """Forms the answers of a task; for the first three see :class:`muomni_cli.contract.models.Predictor`."""

    answer_modes: Mapping[str, bool]
    vocabulary: Sequence[str] = ()

    def expected(self, text: str, label: str | None) -> str:
        return text or label or ""

    @abstractmethod
    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:
        """An answer for each of ``count`` pictures."""


class Naming(AnswerMode):
    """Classification; ``score`` returns (B,C)."""

    answer_modes = MappingProxyType({"accuracy": False})

    def __init__(self, classes: Sequence[str]) -> None:
        self.vocabulary = list(classes)

    def expected(self, text: str, label: str | None) -> str:  # noqa: ARG002
        return label or ""

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        return [self.vocabulary[place] for place in score({}).argmax(1).tolist()]


class Matching(AnswerMode):
    """Text retrieval; ``score`` takes ``texts`` (U,L) and returns (B,U)."""

    answer_modes = MappingProxyType({"retrieval": True})

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        assert choices is not None, "retrieval needs choices"
        best = score({"texts": spelled(choices, self._longest)}).argmax(1).tolist()
        return [choices[place] for place in best]


class Writing(AnswerMode):
    """Captioning byte by byte; ``score`` takes ``given`` (B,L), the bytes so far, and returns (B,1+L,257)."""

    answer_modes = MappingProxyType({"exact": False})

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def expected(self, text: str, label: str | None) -> str:
        """The text or the label, truncated as in training."""
        return read(spelled([text or label or ""], self._longest)[0].tolist())

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        """Greedy decoding."""
        symbols = np.empty((count, 0), np.int64)
        for _ in range(self._longest):
            best = score({"given": symbols})[:, -1].argmax(1)
            symbols = np.concatenate([symbols, best[:, None]], axis=1)
            if (symbols == END).any(1).all():
                break
        return [read(row) for row in symbols.tolist()]


def answer_mode_of(config: VitConfig, head_metadata: Mapping[str, Any]) -> AnswerMode:
    """The answer mode of the task that the stage was trained on."""
    learn = head_metadata.get("learn", config.learn)
    if learn == "labels":
        return Naming(head_metadata["classes"])
    return Matching(config.words.longest) if learn == "contrast" else Writing(config.words.longest)


class VisionPredictorRunner:
    """A :class:`muomni_cli.contract.models.Predictor` on the exported graphs ``encoder`` and ``head`` of
    :mod:`muomni_vit.graphs`."""

    def __init__(self, config: VitConfig, graphs: Mapping[str, GraphFn], head_metadata: Mapping[str, Any]) -> None:
        self._graphs, self._answer_mode = graphs, answer_mode_of(config, head_metadata)
        self.answer_modes, self.vocabulary = self._answer_mode.answer_modes, self._answer_mode.vocabulary
        self.expected = self._answer_mode.expected

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        """(3,S,S) pictures -> an answer for each."""
        tokens = self._graphs["encoder"]({"inputs": np.stack(inputs)})["tokens"]

        def score(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.floating]:
            scores: NDArray[np.floating] = self._graphs["head"]({"tokens": tokens, **given})["scores"]
            return scores

        return self._answer_mode.said(score, len(inputs), choices)
