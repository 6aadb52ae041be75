"""A stack with a growing cache is the stack with its own."""

from __future__ import annotations

import pytest
import torch

from muomni_cli.nn.onnx_stack import filled, grow, held_by
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig


def stack(*, kv_heads: int, qk_norm: bool) -> Transformer:
    config = TransformerConfig(
        d_model=32, n_layers=2, n_heads=4, n_kv_heads=kv_heads, d_ff=48, ctx_len=16, qk_norm=qk_norm
    )
    torch.manual_seed(0)
    model = build(config, 50).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(("held", "time"), [(0, 1), (0, 7), (5, 1), (5, 3)])
def test_it_gives_what_the_stack_gives_and_holds_what_it_holds(
    kv_heads: int, qk_norm: bool, held: int, time: int
) -> None:
    model = stack(kv_heads=kv_heads, qk_norm=qk_norm)
    past = [torch.randn(3, kv_heads, held, 8) for _ in range(2 * 2)]
    x = torch.randn(3, time, 32)
    cache = filled(model, past, time)
    expected = model.states(x, cache=cache)
    states, present = grow(model, x, past)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)
    for one, other in zip(present, held_by(cache), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
