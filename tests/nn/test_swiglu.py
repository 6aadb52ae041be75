"""The fused gate against PyTorch's own operators, values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from muomni_cli.nn.transformer import swiglu


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_values_and_gradients_are_those_of_the_operators(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = torch.randn(3, 5, 14, dtype=dtype, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    gate, up = theirs.chunk(2, dim=-1)
    wanted = F.silu(gate) * up
    grad = torch.randn_like(wanted)
    got = swiglu(ours)
    got.backward(grad)
    wanted.backward(grad)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(ours.grad, theirs.grad)
