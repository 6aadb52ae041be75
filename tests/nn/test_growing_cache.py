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
    for one, other in zip(present, held_by(cache, past), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("time", [1, 3])
def test_rows_with_empty_places_give_what_they_give_alone(qk_norm: bool, time: int) -> None:
    model = stack(kv_heads=2, qk_norm=qk_norm)
    past = [torch.randn(4, 2, 6, 8) for _ in range(2 * 2)]
    x = torch.randn(4, time, 32)
    padding = torch.tensor([0, 2, 6, 9])
    states, present = grow(model, x, past, padding)
    for row, empty in enumerate([0, 2, 6, 6]):
        own = [one[row : row + 1, :, empty:] for one in past]
        alone, held = grow(model, x[row : row + 1], own)
        torch.testing.assert_close(states[row : row + 1], alone, atol=1e-5, rtol=1e-5)
        for one, other in zip(present, held, strict=True):
            torch.testing.assert_close(one[row : row + 1, :, empty:], other, atol=1e-5, rtol=1e-5)
    cache = filled(model, past, time, padding)
    torch.testing.assert_close(states, model.states(x, cache=cache), atol=1e-5, rtol=1e-5)
    for one, other in zip(present, held_by(cache, past), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_one_number_of_empty_places_is_that_of_every_row() -> None:
    model = stack(kv_heads=4, qk_norm=False)
    past = [torch.randn(3, 4, 5, 8) for _ in range(2 * 2)]
    x = torch.randn(3, 1, 32)
    states, _ = grow(model, x, past, torch.tensor([2]))
    torch.testing.assert_close(states, grow(model, x, past, torch.tensor([2, 2, 2]))[0])
    torch.testing.assert_close(grow(model, x, past, torch.tensor([0]))[0], grow(model, x, past)[0])
