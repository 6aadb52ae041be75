"""An encoder that spells: one Linear from tokens to characters, and the loss that teaches both. Knows no data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_listener.ctc import BLANK, Alphabet
from muomni_listener.model import Listener


class Recognizer(nn.Module):
    """(B,N) waveforms -> (B,T,C) log-probabilities of the characters of the encoder's alphabet and the blank."""

    def __init__(self, encoder: Listener) -> None:
        super().__init__()
        self.encoder = encoder
        self.alphabet = Alphabet(encoder.config.characters)
        self.head = nn.Linear(encoder.width, self.alphabet.classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, waves: Tensor, lengths: Sequence[int] | None = None) -> tuple[Tensor, list[int]]:
        """(B,N), with ``lengths[b]`` real samples each -> (B,T,C) float32, and how many tokens of each row are real."""
        output = self.encoder(waves, lengths)
        return self.score(output.tokens), output.lengths

    def score(self, tokens: Tensor) -> Tensor:
        """(B,T,W) -> (B,T,C), in float32 even under autocast: the loss adds up many small probabilities."""
        return F.log_softmax(self.head(tokens).float(), dim=-1)


def spelling_loss(scores: Tensor, lengths: Sequence[int], texts: Sequence[Sequence[int]]) -> Tensor:
    """The sum over rows of -log p(text), a scalar in nats.

    Args:
        scores: (B,T,C).
        lengths: real tokens of each row.
        texts: classes of each row's text. One that needs more tokens than its row has (see
            :func:`muomni_listener.ctc.needed`) cannot be said and counts as nothing.
    """
    targets = torch.tensor([symbol for text in texts for symbol in text], dtype=torch.long)
    return F.ctc_loss(
        scores.transpose(0, 1),
        targets.to(scores.device),
        torch.tensor(lengths),
        torch.tensor([len(text) for text in texts]),
        blank=BLANK,
        reduction="sum",
        zero_infinity=True,
    )
