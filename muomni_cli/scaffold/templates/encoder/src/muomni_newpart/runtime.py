"""Runs the exported graphs without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import GraphFn
from muomni_newpart.config import NewpartConfig
from muomni_newpart.predictor import ClassNames


class ClassifierRunner:
    """A :class:`muomni_cli.contract.models.Predictor` on the exported graphs."""

    def __init__(self, config: NewpartConfig, graphs: Mapping[str, GraphFn], head_metadata: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._graphs, self._names = graphs, ClassNames(head_metadata["classes"])
        self.answer_modes, self.vocabulary = self._names.answer_modes, self._names.vocabulary
        self.expected = self._names.expected

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:  # noqa: ARG002
        """The likeliest class of each (N,C) input."""
        tokens = [self._graphs["encoder"]({"inputs": one[None]})["tokens"] for one in inputs]
        return self._names.said(np.concatenate([self._graphs["head"]({"tokens": one})["scores"] for one in tokens]))
