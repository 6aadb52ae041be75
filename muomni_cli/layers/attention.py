"""Softmax attention, by PyTorch's kernels, in the precision that they are fast in."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SHORT = 256
"""Keys up to which fp32 is faster than bf16 on a CPU."""


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
    grouped: bool = False,
) -> Tensor:
    """(B,H,T,Dh) queries over (B,Hkv,S,Dh) keys and values -> (B,H,T,Dh).

    Args:
        query: with positions in it, as the keys have them.
        key: one for each query head, or fewer where ``grouped``.
        value: as the keys.
        mask: broadcast over (B,H,T,S): true where a query may look, or what is added to its scores.
        causal: position t looks at positions up to t alone.
        grouped: several heads of queries share one of keys and values (arXiv:2305.13245).
    """
    if query.device.type == "cpu" and torch.is_autocast_enabled("cpu") and key.shape[2] <= SHORT:
        # The CPU's bf16 kernel multiplies one small matrix after another, and preparing each takes longer than fp32
        # takes for all of it: five times as long, gradients included, for 128 heads of 64 positions.
        with torch.autocast("cpu", enabled=False):
            return _attend(query.float(), key.float(), value.float(), mask, causal, grouped)
    return _attend(query, key, value, mask, causal, grouped)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, causal: bool, grouped: bool) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, enable_gqa=grouped)
