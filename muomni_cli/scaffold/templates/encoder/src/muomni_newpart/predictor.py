"""Scores to class names, shared by PyTorch and exported graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


class ClassNames:
    """The attributes of :class:`muomni_cli.contract.models.Predictor` for a list of classes."""

    answer_modes: Mapping[str, bool] = MappingProxyType({"accuracy": False})

    def __init__(self, classes: Sequence[str]) -> None:
        self.vocabulary = list(classes)

    def expected(self, text: str, label: str | None) -> str:
        """The right answer."""
        return label or text

    def said(self, scores: NDArray[np.floating]) -> list[str]:
        """(B,classes) scores -> the likeliest class of each row."""
        return [self.vocabulary[place] for place in scores.argmax(1).tolist()]
