"""Tables that depend on where a patch is: its rotation, and its share in each cell of a coarser grid.

Knows the grid of patches, not the model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_tables(grid: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """(1+G²,1,Dh) cosines and sines of 2-D RoPE for a CLS token and G² patches, row by row.

    Axial form of arXiv:2403.13298: dimension i turns with dimension i + Dh/2; the first half of these pairs turns by
    the patch's row, the other by its column. CLS stands nowhere and does not turn. The sign is folded into the sines,
    so that rotating is ``x * cos + roll(x, Dh/2) * sin``.
    """
    quarter = head_dim // 4
    speeds = theta ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    along = torch.outer(torch.arange(grid, dtype=torch.float64), speeds)  # (G,Dh/4)
    rows = along[:, None].expand(grid, grid, quarter)
    columns = along[None, :].expand(grid, grid, quarter)
    angles = torch.cat((rows, columns), dim=2).flatten(0, 1)  # (G²,Dh/2)
    angles = torch.cat((angles.new_zeros(1, 2 * quarter), angles))
    cos = torch.cat((angles.cos(), angles.cos()), dim=1)
    sin = torch.cat((-angles.sin(), angles.sin()), dim=1)
    return cos[:, None].float(), sin[:, None].float()


def pooling(grid: int, cells: int) -> Tensor:
    """(C²,G²) weights that average G x G patches over C x C cells of equal area.

    A patch that two cells share counts in each by the part that lies in it, so that C need not divide G and every patch
    counts the same. Rows sum to 1.
    """
    edges = torch.arange(cells + 1, dtype=torch.float64) * grid / cells
    patches = torch.arange(grid, dtype=torch.float64)
    ends = torch.minimum(edges[1:, None], patches + 1)
    overlap = (ends - torch.maximum(edges[:-1, None], patches)).clamp_min(0)  # (C,G)
    share = overlap * cells / grid
    return torch.kron(share, share).float()
