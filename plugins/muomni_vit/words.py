"""Texts as bytes, and the small transformer that reads or writes them beside the encoder. Knows no pictures.

Shapes: B batch, L bytes, P places of a prefix, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from muomni_cli.api import RequestError
from muomni_vit.config import WordsConfig
from muomni_vit.spelling import SYMBOLS, spelled

if TYPE_CHECKING:
    from muomni_cli.api import ExampleData, Examples


def text_of(examples: Examples, row: int) -> str:
    """The text to a picture: its own, or its label where it has none."""
    return examples.texts[row] or examples.labels[row] or ""


def require_texts(data: ExampleData) -> None:
    """RequestError unless there are texts, and not the same one for all pictures."""
    texts = {text_of(data.train, row) for row in range(len(data.train))}
    if len(texts) < 2:
        found = f"all {len(data.train):,} pictures have the text {texts.pop()!r}"
        raise RequestError(found, "name a source whose pictures have texts that tell them apart")


def symbols_of(texts: Sequence[str], longest: int) -> Tensor:
    """See :func:`muomni_vit.spelling.spelled`."""
    return torch.from_numpy(spelled(texts, longest))


class Words(nn.Module):
    """A pre-norm transformer over bytes: (B,L) symbols -> (B,P+L,W), with P places of something else before them."""

    def __init__(self, config: WordsConfig, *, prefix: int = 0, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.embed = nn.Embedding(SYMBOLS, config.d_model)
        self.pos = nn.Parameter(torch.empty(1, prefix + config.longest + 1, config.d_model))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.d_model,
                config.n_heads,
                4 * config.d_model,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.n_layers)
        )
        self.norm = nn.LayerNorm(config.d_model)
        for table in (self.embed.weight, self.pos):
            nn.init.normal_(table, std=0.2)

    def forward(self, symbols: Tensor, prefix: Tensor | None = None, padding: Tensor | None = None) -> Tensor:
        """Args:
        symbols: (B,L).
        prefix: (B,P,W), seen by every byte.
        padding: (B,L) bool, true for what nobody sees (needed only if bytes see what comes after them).
        """
        x = self.embed(symbols)
        if prefix is not None:
            x = torch.cat((prefix.to(x.dtype), x), dim=1)
        places = x.shape[1]
        x = x + self.pos[:, :places]
        later = torch.ones(places, places, dtype=torch.bool, device=x.device).triu(1) if self.causal else None
        for block in self.blocks:
            x = block(x, src_mask=later, src_key_padding_mask=padding, is_causal=self.causal)
        return self.norm(x)  # type: ignore[no-any-return]
