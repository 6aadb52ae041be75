"""How each lesson about pictures is asked, whatever runs it: from scores to answers. Knows no torch.

Shapes: B pictures, C classes, U texts, L bytes of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from muomni_vit.config import VitConfig
from muomni_vit.spelling import END, read, spelled

Score = Callable[[Mapping[str, NDArray[np.int64]]], NDArray[np.floating]]
"""What the head says of B pictures, given what else it takes."""


class Asking(Protocol):
    """See :class:`muomni_cli.contract.models.Answers` for the first three."""

    ways: Mapping[str, bool]

    @property
    def vocabulary(self) -> Sequence[str]: ...

    def wanted(self, text: str, label: str | None) -> str: ...

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:
        """An answer to each of ``count`` pictures."""
        ...


class Naming:
    """Which of its classes a picture shows; ``score`` gives (B,C)."""

    ways: Mapping[str, bool] = MappingProxyType({"accuracy": False})

    def __init__(self, classes: Sequence[str]) -> None:
        self.vocabulary = list(classes)

    def wanted(self, text: str, label: str | None) -> str:  # noqa: ARG002
        """The label."""
        return label or ""

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        """The likeliest class of each."""
        return [self.vocabulary[place] for place in score({}).argmax(1).tolist()]


class Matching:
    """Which of some texts belongs to a picture; ``score`` takes ``texts`` (U,L) and gives (B,U)."""

    ways: Mapping[str, bool] = MappingProxyType({"retrieval": True})
    vocabulary: Sequence[str] = ()

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def wanted(self, text: str, label: str | None) -> str:
        """The text, or the label where there is none."""
        return text or label or ""

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        """Which of ``choices`` points most as each picture does."""
        assert choices is not None, "its one way is to choose"
        best = score({"texts": spelled(choices, self._longest)}).argmax(1).tolist()
        return [choices[place] for place in best]


class Writing:
    """The text of a picture, byte by byte; ``score`` takes ``given`` (B,L), the bytes so far, and gives (B,1+L,257)."""

    ways: Mapping[str, bool] = MappingProxyType({"exact": False})
    vocabulary: Sequence[str] = ()

    def __init__(self, longest: int) -> None:
        self._longest = longest

    def wanted(self, text: str, label: str | None) -> str:
        """The text, or the label where there is none, as long as it is learned."""
        return read(spelled([text or label or ""], self._longest)[0].tolist())

    def said(self, score: Score, count: int, choices: Sequence[str] | None) -> list[str]:  # noqa: ARG002
        """The likeliest text of each, greedily."""
        symbols = np.empty((count, 0), np.int64)
        for _ in range(self._longest):
            best = score({"given": symbols})[:, -1].argmax(1)
            symbols = np.concatenate([symbols, best[:, None]], axis=1)
            if (symbols == END).any(1).all():
                break
        return [read(row) for row in symbols.tolist()]


def asking_of(config: VitConfig, learned: Mapping[str, Any]) -> Asking:
    """Of what a stage learned."""
    learn = learned.get("learn", config.learn)
    if learn == "labels":
        return Naming(learned["classes"])
    return (Matching if learn == "contrast" else Writing)(config.words.longest)
