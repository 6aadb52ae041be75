"""A lesson that can be asked: the encoder, a head, and how scores become answers. Knows no files.

Shapes: B pictures, T tokens, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_vit.asking import Asking
from muomni_vit.model import Vit


class Asked(nn.Module, ABC):
    """What makes a lesson (:class:`muomni_vit.objective.Lesson`) a :class:`muomni_cli.contract.models.Answerer`."""

    def __init__(self, encoder: Vit, asking: Asking) -> None:
        super().__init__()
        self.encoder = encoder
        self._asking = asking
        self.ways, self.vocabulary, self.wanted = asking.ways, asking.vocabulary, asking.wanted

    @abstractmethod
    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,T,W) tokens -> scores in float32, of a shape that is the lesson's own."""

    def answers(self, inputs: Sequence[NDArray[Any]], choices: Sequence[str] | None = None) -> list[str]:
        """See :class:`muomni_cli.contract.models.Answers`."""
        with torch.inference_mode():
            return self.answers_to(self.encoder.see(inputs), choices)

    @torch.no_grad()
    def answers_to(self, tokens: Tensor, choices: Sequence[str] | None = None) -> list[str]:
        """(B,T,W) tokens -> an answer to each picture."""

        def score(given: Mapping[str, NDArray[np.int64]]) -> NDArray[np.floating]:
            targets = {name: torch.from_numpy(symbols).to(tokens.device) for name, symbols in given.items()}
            scores: NDArray[np.floating] = self.scores(tokens, targets).cpu().numpy()
            return scores

        return self._asking.said(score, len(tokens), choices)
