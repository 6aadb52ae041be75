"""From characters to what each frame is to say: features, durations, and the pointer that only moves forward.

Explicit monotonic alignment, as in FastSpeech 2 (arXiv:2006.04558) and RALL-E (arXiv:2404.03204): every character lasts
a number of slots, so nothing can be skipped, repeated or gone on with for ever. Features look a bounded number of
characters to either side, so a sentence can be read while it is still being written.

Shapes: B batch, S symbols, U slots, T frames, W width of features, D width of frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.layers.streaming import CausalConv
from muomni_talker import symbols
from muomni_talker.config import SpeakerConfig

STEADY = 32
"""Slots from which on it makes no difference how long a character has lasted, or will last."""


@dataclass(slots=True)
class Pointer:
    """Where a reader stands in each slot of a batch of sentences.

    ``symbol`` (B,U): number of the symbol that is being said; ``elapsed`` and ``left`` (B,U): slots that it has lasted
    and will last.
    """

    symbol: Tensor
    elapsed: Tensor
    left: Tensor


class TextBlock(nn.Module):
    """A convolution over symbols and a linear layer, added to their input."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_text)
        self.convolution = CausalConv(config.d_text, config.text_kernel, 2 * config.d_text)
        self.out = nn.Linear(config.d_text, config.d_text)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(B,S,W), real (B,S,1) -> (B,S,W)."""
        value, gate = self.convolution.centred(self.norm(x) * real).chunk(2, dim=-1)
        return x + self.dropout(self.out(value * F.silu(gate)))  # type: ignore[no-any-return]


class Reader(nn.Module):
    """Symbols to features and durations."""

    def __init__(self, config: SpeakerConfig, voices: int, thinker_width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(symbols.COUNT, config.d_text)
        self.voices = nn.Embedding(max(voices, 1), config.d_text)
        self.thought = nn.Linear(thinker_width, config.d_text, bias=False) if thinker_width else None
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.d_text)
        self.lasting = nn.Sequential(
            nn.Linear(config.d_text, config.d_text), nn.GELU(), nn.Linear(config.d_text, config.longest + 1)
        )

    def forward(self, ids: Tensor, voice: Tensor, thoughts: Tensor | None = None) -> Tensor:
        """(B,S) symbols, (B,) voices and (B,S,Dh) states of a Thinker (zeros: none) -> (B,S,W) features."""
        x = self.table(ids) + self.voices(voice)[:, None]
        if self.thought is not None and thoughts is not None:
            x = x + self.thought(thoughts)
        real = (ids != symbols.PAD)[..., None].to(x.dtype)
        for block in self.blocks:
            x = block(x, real)
        return self.norm(x)  # type: ignore[no-any-return]

    def durations(self, features: Tensor) -> Tensor:
        """(B,S,W) -> (B,S,longest + 1) logits over slots that each symbol lasts."""
        return self.lasting(features)  # type: ignore[no-any-return]

    def expected(self, features: Tensor) -> Tensor:
        """(B,S,W) -> (B,S) slots, the mean of what :meth:`durations` says: sums of means keep a sentence's length."""
        shares = self.durations(features).float().softmax(-1)
        return shares @ torch.arange(shares.shape[-1], device=shares.device, dtype=shares.dtype)


class Framer(nn.Module):
    """Features under a pointer to what each frame is to say, with a look at the frames beside it."""

    def __init__(self, config: SpeakerConfig) -> None:
        super().__init__()
        self.slots = config.slots
        self.elapsed = nn.Embedding(STEADY, config.d_text)
        self.left = nn.Embedding(STEADY, config.d_text)
        self.join = CausalConv(config.slots * config.d_text, 3, config.d_model)
        self.nothing = nn.Parameter(torch.zeros(config.d_model))

    def forward(self, features: Tensor, pointer: Pointer, frames: Tensor | None = None) -> Tensor:
        """(B,S,W) features and a pointer of U = slots * T slots -> (B,T,D).

        Args:
            frames: (B,) real frames of each row; the others count as silence to their neighbours.
        """
        batch, slots = pointer.symbol.shape
        under = features.gather(1, pointer.symbol[..., None].expand(-1, -1, features.shape[-1]))
        under = (
            under + self.elapsed(pointer.elapsed.clamp(0, STEADY - 1)) + self.left(pointer.left.clamp(0, STEADY - 1))
        )
        joined = under.view(batch, slots // self.slots, -1)  # (B,T,slots*W)
        if frames is not None:
            places = torch.arange(joined.shape[1], device=joined.device)
            joined = joined * (places < frames[:, None])[..., None]
        return self.join.centred(joined)
