"""The encoder's graphs and those of what its own stage learned, run. Knows no torch.

Shapes: B pictures, S side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Run
from muomni_vit.asking import asking_of
from muomni_vit.config import VitConfig


class RunLesson:
    """See :class:`muomni_cli.contract.models.Answers`.

    Args:
        config: of the encoder.
        graphs: the open ``encoder``, and ``head`` as :mod:`muomni_vit.graphs` declares it.
        learned: what the stage learned besides weights.
    """

    def __init__(self, config: VitConfig, graphs: Mapping[str, Run], learned: Mapping[str, Any]) -> None:
        self._graphs, self._asking = graphs, asking_of(config, learned)
        self.ways, self.vocabulary, self.wanted = self._asking.ways, self._asking.vocabulary, self._asking.wanted

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        """(3,S,S) pictures -> an answer to each."""
        tokens = self._graphs["encoder"]({"inputs": np.stack(inputs)})["tokens"]

        def score(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.floating]:
            scores: NDArray[np.floating] = self._graphs["head"]({"tokens": tokens, **given})["scores"]
            return scores

        return self._asking.said(score, len(inputs), choices)
