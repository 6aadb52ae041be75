"""Captions: the text of a picture, written byte by byte after its tokens. Knows tokens and texts, no files.

Shapes: B pictures, T tokens, L bytes with the end, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_vit.asked import Asked
from muomni_vit.asking import Writing
from muomni_vit.model import Vit
from muomni_vit.spelling import END, HIDDEN, SPACE
from muomni_vit.words import Words, symbols_of, text_of

if TYPE_CHECKING:
    from muomni_cli.api import Examples

IGNORED = -100
"""The target after the end of a text."""


class Captions(Asked):
    """A lesson (:class:`muomni_vit.objective.Lesson`): a small causal transformer goes on from a picture's tokens with
    the bytes of its text, as the Thinker will later."""

    measure = "exact"
    adam_only = frozenset({"head.weight"})

    def __init__(self, encoder: Vit) -> None:
        config = encoder.config.words
        super().__init__(encoder, Writing(config.longest))
        self.longest, self.hidden = config.longest, config.hidden
        self.picture = nn.Linear(encoder.width, config.d_model)
        self.words = Words(config, prefix=encoder.config.token_count, causal=True)
        self.head = nn.Linear(config.d_model, END + 1)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def targets(
        self, examples: Examples, rows: Sequence[int], share: slice, rng: np.random.Generator | None
    ) -> tuple[dict[str, Tensor], float]:
        """``given`` (B,L-1), the bytes that the next is guessed from, some words hidden; ``symbols`` (B,L), what is
        to be guessed; and how many that are."""
        symbols = symbols_of([text_of(examples, row) for row in rows[share]], self.longest)
        given = symbols[:, :-1]
        if rng is not None and self.hidden:
            chances = torch.from_numpy(rng.random((len(rows), 1 + self.longest))[share])
            words = (given == SPACE).cumsum(1)  # the spaces stay: what is hidden can be told from the picture alone
            given = given.masked_fill((chances.gather(1, words) < self.hidden) & (given != SPACE), HIDDEN)
        symbols = symbols.masked_fill((symbols == END).cumsum(1) > 1, IGNORED)
        return {"given": given, "symbols": symbols}, float((symbols != IGNORED).sum())

    def scores(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """(B,L,257): of each byte and the end, given the picture and all before."""
        states = self.words(targets["given"], self.picture(tokens))
        scores: Tensor = self.head(states[:, tokens.shape[1] - 1 :])
        return scores.float()

    def loss(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of the bytes and the ends."""
        return F.cross_entropy(
            scores.flatten(0, 1), targets["symbols"].flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def right(self, scores: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Whose text greedy writing would give: that in which every byte is the likeliest after the right ones."""
        symbols = targets["symbols"]
        return ((scores.argmax(2) == symbols) | (symbols == IGNORED)).all(1)

    def said(self, tokens: Tensor, examples: Examples, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Texts, and what is written."""
        return list(zip([text_of(examples, row) for row in rows], self.answers_to(tokens), strict=True))
