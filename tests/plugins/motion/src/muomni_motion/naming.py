"""From scores to names, whatever made the scores. Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class Naming:
    """What :class:`muomni_cli.contract.models.Predictor` wants, of a list of classes."""

    answer_modes: Mapping[str, bool] = MappingProxyType({"accuracy": False})

    def __init__(self, classes: Sequence[str]) -> None:
        self.vocabulary = list(classes)

    def expected(self, text: str, label: str | None) -> str:
        """The label."""
        return label or text

    def said(self, scores: NDArray[np.floating]) -> list[str]:
        """(B,C) -> the likeliest of each."""
        return [self.vocabulary[place] for place in scores.argmax(1).tolist()]
