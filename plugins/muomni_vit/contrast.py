"""Contrast: which text belongs to which picture, by the sigmoid loss of SigLIP (arXiv:2303.15343). Knows tokens and
texts, no files.

Shapes: B pictures, U texts that differ, L bytes, W width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_vit.asked import Asked
from muomni_vit.asking import Matching
from muomni_vit.model import Vit
from muomni_vit.spelling import END
from muomni_vit.words import Words, symbols_of, text_of

if TYPE_CHECKING:
    from muomni_cli.api import Examples


class Contrast(Asked):
    """A lesson (:class:`muomni_vit.objective.Lesson`): the mean of a picture's tokens and the mean of its text's bytes,
    read by a small transformer that sees their order, point the same way; those of other texts do not.

    Pictures are compared with the texts of the step that differ. So equal texts are never taken for wrong ones, and
    micro-batches, which see all texts of their step, add up to what one large batch gives.
    """

    measure = "retrieval"
    adam_only = frozenset({"picture.weight", "text.weight"})

    def __init__(self, encoder: Vit) -> None:
        config = encoder.config.words
        super().__init__(encoder, Matching(config.longest))
        self.longest = config.longest
        self.words = Words(config)
        self.picture = nn.Linear(encoder.width, config.d_model)
        self.text = nn.Linear(config.d_model, config.d_model)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def targets(
        self,
        examples: Examples,
        rows: Sequence[int],
        share: slice,
        rng: np.random.Generator | None,  # noqa: ARG002
    ) -> tuple[dict[str, Tensor], float]:
        """``texts`` (U,L), those of the whole step that differ, and ``own`` (B,), which one is each picture's."""
        places: dict[bytes, int] = {}
        texts = [text_of(examples, row) for row in rows]
        keys = [text.encode("utf-8")[: self.longest] for text in texts]
        own = [places.setdefault(key, len(places)) for key in keys]
        firsts = [texts[own.index(place)] for place in range(len(places))]
        return {"texts": symbols_of(firsts, self.longest), "own": torch.tensor(own[share])}, float(len(own[share]))

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,U): scaled cosines of pictures and texts."""
        return self.match(tokens, self._gist(targets["texts"]))

    def match(self, tokens: Tensor, gist: Tensor) -> Tensor:
        """(B,T,W) tokens and (U,W) means of texts -> (B,U)."""
        pictures = F.normalize(self.picture(tokens.mean(1)).float(), dim=1)
        texts = F.normalize(self.text(gist).float(), dim=1)
        with torch.autocast(tokens.device.type, enabled=False):  # bfloat16 cannot tell near texts apart
            return pictures @ texts.t() * self.log_scale.exp() + self.bias

    def _gist(self, symbols: Tensor) -> Tensor:
        """(U,L) -> (U,W): the mean over the bytes and one end, which a text of no bytes has too."""
        padding = past_the_end(symbols)
        return mean_of(self.words(symbols, padding=padding), padding)

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Nats of all pairs: does this text belong to this picture?"""
        own = F.one_hot(targets["own"], scores.shape[1])
        nats: Tensor = -F.logsigmoid(scores * (2 * own - 1)).sum()
        return nats

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Whose own text scores best among those of its batch."""
        return scores.argmax(1) == targets["own"]

    def said(self, tokens: Tensor, examples: Examples, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Texts, and the best ones among those shown."""
        texts = [text_of(examples, row) for row in rows]
        return list(zip(texts, self.answers_to(tokens, texts), strict=True))


def past_the_end(symbols: Tensor) -> Tensor:
    """(U,L) bool: true for what only fills a text's row."""
    return (symbols == END).cumsum(1) > 1


def mean_of(states: Tensor, padding: Tensor) -> Tensor:
    """(U,L,W) -> (U,W): the mean over what is no padding."""
    real = (~padding)[:, :, None].float()
    return (states * real).sum(1) / real.sum(1)
