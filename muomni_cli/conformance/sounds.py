"""Log-mel to try parts with that make and take sound, and modules that take it in pieces. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from muomni_cli.conformance.subject import SEED
from muomni_cli.contract.sound import MelSettings

CUTS = ([1, 1, 3, 2, 6, 4], [5, 0, 12], [17])
"""Ways to cut what comes in pieces; each is repeated until there is no more."""


def log_mel(mel: MelSettings, frames: int, rows: int = 2, seed: int = SEED) -> Tensor:
    """(B,M,F) of something like speech, in nats: levels that change slowly."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(rows, frames + 4, mel.n_mels + 4, generator=random)
    smooth = noise.unfold(1, 5, 1).mean(-1).unfold(2, 5, 1).mean(-1)
    return smooth * 10 - 4


def in_pieces(stream: Any, whole: Tensor, cut: Sequence[int]) -> Tensor:
    """What comes of (B,T,F) that is pushed so many frames at a time, joined."""
    made, place, turn = [], 0, 0
    while place < whole.shape[1]:
        size = cut[turn % len(cut)]
        made.append(stream.push(whole[:, place : place + size]))
        place, turn = place + size, turn + 1
    return torch.cat([*made, stream.finish()], dim=1)
