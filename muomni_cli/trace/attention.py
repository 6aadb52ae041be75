"""Attention weights of a PyTorch module, seen from outside: every call of PyTorch's attention kernel is repeated in
plain products, which have the weights. Imports torch only while it captures.

Shapes: B batch, H heads, T queries, S keys.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Attention:
    """One layer's weights (H,T,S) of the first row of the batch; each query's sum to 1."""

    weights: NDArray[np.float32]


@contextmanager
def captured() -> Iterator[list[Attention]]:
    """The attention of everything that runs inside: one entry for each call of ``scaled_dot_product_attention``, in
    order. Empty for a model that computes its attention in another way, or has none. Results are unchanged."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from torch.overrides import TorchFunctionMode

    found: list[Attention] = []

    class Capture(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func is scaled_dot_product_attention:
                with torch.inference_mode():
                    found.append(Attention(weights_of(*args, **kwargs)[0].float().cpu().numpy()))
            return func(*args, **kwargs)

    with Capture():
        yield found


def weights_of(
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001 - the arguments are those of scaled_dot_product_attention
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """(B,H,T,Dh) queries over (B,Hkv,S,Dh) keys -> (B,H,T,S) softmax weights."""
    import torch

    keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1) if enable_gqa else key
    scores = query.float() @ keys.float().transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)
