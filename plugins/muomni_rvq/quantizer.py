"""Residual vector quantisation (arXiv:2107.03312): each codebook codes what those before it left over.

Codes are moving averages of what they stand for (arXiv:1711.00937), begin as k-means of real frames, and are put
elsewhere when nothing comes to them: without that most of them die. All of it is in buffers, so a checkpoint holds it.

Shapes: N points, D their width, Q codebooks, K codes in each.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

ROUNDS = 20
"""Of k-means."""


class ResidualQuantizer(nn.Module):
    """(...,D) points to (...,Q) codes and back.

    Args:
        codebooks: Q.
        size: K.
        width: D.
        decay: of the averages, an update.
        revive: a code that gets less than this share of the mean is put onto a point that was just seen.
    """

    table: Tensor
    counts: Tensor
    ready: Tensor

    def __init__(self, codebooks: int, size: int, width: int, *, decay: float = 0.97, revive: float = 0.1) -> None:
        super().__init__()
        self.codebooks, self.size, self.decay, self.revive = codebooks, size, decay, revive
        finer = 0.5 ** torch.arange(codebooks)[:, None, None]
        self.register_buffer("table", torch.randn(codebooks, size, width) * finer)  # (Q,K,D)
        self.register_buffer("counts", torch.zeros(codebooks, size))  # points a step, averaged
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))  # whether they stand for anything

    def encode(self, points: Tensor) -> Tensor:
        """(...,D) -> (...,Q) int64: in each codebook the nearest to what is left."""
        left, codes = points.float(), []
        for table in self.table:
            code = nearest(left, table)
            left = left - F.embedding(code, table)
            codes.append(code)
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """(...,Q) -> (...,D): the sum of what the codes stand for."""
        return self.looked_up(codes).sum(dim=-2)

    def looked_up(self, codes: Tensor) -> Tensor:
        """(...,Q) -> (...,Q,D)."""
        first = torch.arange(self.codebooks, device=codes.device) * self.size
        return F.embedding(codes + first, self.table.flatten(0, 1))

    @torch.no_grad()
    def begin(self, points: Tensor, batch: int, seed: int) -> None:
        """Let the codes be k-means of (N,D) real points, and of what each codebook leaves of them.

        Args:
            points: N of at least 1; with N below K some codes are the same, until they are revived.
            batch: points that an update will see.
            seed: of the first choice.
        """
        rng = torch.Generator().manual_seed(seed)
        left = points.float()
        for number in range(self.codebooks):
            table, shares = k_means(left, self.size, rng)
            self.table[number].copy_(table)
            self.counts[number].copy_(shares * batch)
            left = left - F.embedding(nearest(left, table), table)
        self.ready.fill_(True)

    @torch.no_grad()
    def update(self, points: Tensor, codes: Tensor) -> None:
        """Move the codes towards the (N,D) points that (N,Q) ``codes`` were found for."""
        left = points.float()
        for number, code in enumerate(codes.unbind(-1)):
            table, counts = self.table[number], self.counts[number]
            found = left
            left = left - F.embedding(code, table)
            hits, sums = gathered(found, code, self.size)
            moved = torch.lerp(hits, counts, self.decay)
            total = torch.lerp(sums, counts[:, None] * table, self.decay)
            table.copy_(torch.where(moved[:, None] > 0, total / moved.clamp_min(1e-9)[:, None], table))
            counts.copy_(moved)
            if self.revive:
                self._revive(number, found)

    def _revive(self, number: int, points: Tensor) -> None:
        """Put each code that is hardly used onto a point drawn at random, as if it were used as much as the mean."""
        table, counts = self.table[number], self.counts[number]
        mean = len(points) / self.size
        dead = counts < self.revive * mean
        drawn = torch.randint(len(points), (self.size,), device=points.device)
        table.copy_(torch.where(dead[:, None], points[drawn], table))
        counts.masked_fill_(dead, mean)


def nearest(points: Tensor, table: Tensor) -> Tensor:
    """(...,D) points, (K,D) -> (...) numbers of the nearest rows."""
    # |p - c|^2 less |p|^2, which is the same for all c
    return torch.argmin(table.square().sum(1) - 2 * (points @ table.T), dim=-1)


def gathered(points: Tensor, code: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(N,D) and (N,) numbers below ``size`` -> how many points have each (K,), and their sums (K,D)."""
    hits = points.new_zeros(size).index_add_(0, code, points.new_ones(len(code)))
    return hits, points.new_zeros(size, points.shape[1]).index_add_(0, code, points)


def k_means(points: Tensor, size: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """(K,D) centres of (N,D) points by Lloyd's rounds, and the share of the points that each has (K,).

    It begins with points drawn at random; a centre that has lost all of its points moves onto another one.
    """

    def drawn() -> Tensor:
        chosen = [torch.randperm(len(points), generator=rng) for _ in range(-(-size // len(points)))]
        return points[torch.cat(chosen)[:size].to(points.device)]

    table = drawn()
    for _ in range(ROUNDS):
        hits, sums = gathered(points, nearest(points, table), size)
        table = torch.where(hits[:, None] > 0, sums / hits.clamp_min(1)[:, None], drawn())
    hits, _ = gathered(points, nearest(points, table), size)
    return table, hits / len(points)
