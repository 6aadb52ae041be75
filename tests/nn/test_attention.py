"""Attention: PyTorch's own, and under autocast on a CPU no less precise for being quicker."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muomni_cli.nn.transformer import SHORT, attend


def plain(query: Tensor, key: Tensor, value: Tensor, looks: Tensor | None) -> Tensor:
    """Softmax of the scores, written out."""
    key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in (key, value))
    scores = query @ key.mT / query.shape[3] ** 0.5
    if looks is not None:
        scores = scores.masked_fill(~looks, -torch.inf)
    return torch.softmax(scores, dim=3) @ value


def drawn(time: int, kv_heads: int = 4) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, heads, time, 8, requires_grad=True) for heads in (4, kv_heads, kv_heads)]


@pytest.mark.parametrize("kind", ["all", "causal", "mask", "grouped"])
@pytest.mark.parametrize("autocast", [False, True])
def test_it_is_the_softmax_of_scores(kind: str, autocast: bool) -> None:
    inputs = drawn(9, 2 if kind == "grouped" else 4)
    looks = torch.ones(9, 9, dtype=torch.bool).tril() if kind == "causal" else None
    mask = (torch.rand(2, 1, 9, 9) < 0.5) | torch.eye(9, dtype=torch.bool) if kind == "mask" else None
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        ours = attend(*inputs, mask=mask, causal=kind == "causal", grouped=kind == "grouped")
    theirs = plain(*inputs, mask if looks is None else looks)
    torch.testing.assert_close(ours, theirs)  # in fp32 to the last digits, autocast or not
    for mine, other in zip(
        torch.autograd.grad(ours.sum(), inputs), torch.autograd.grad(theirs.sum(), inputs), strict=True
    ):
        torch.testing.assert_close(mine, other)


def test_many_keys_are_left_to_bf16() -> None:
    query, key, value = drawn(SHORT + 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert attend(query[:, :, :1], key, value).dtype == torch.bfloat16
        assert attend(query, key[:, :, :SHORT], value[:, :, :SHORT]).dtype == torch.float32
