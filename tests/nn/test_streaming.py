"""Causal layers: pieces equal the whole, whatever the cuts; nothing sees further ahead than it may."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from muomni_cli.nn.streaming import FEW, CausalConv, CausalStack, ConvNeXt

WIDTH = 6


class Spread(nn.Module):
    """(B,T,C) -> (B,3T,C): one frame becomes three."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]).flatten(1, 2)


def stack(lookahead: int = 2) -> CausalStack:
    torch.manual_seed(0)
    layers = [
        nn.Linear(4, WIDTH),
        ConvNeXt(WIDTH, 9, scale=1.0),
        CausalConv(WIDTH, 3, 5),
        Spread(),
        ConvNeXt(5, kernel=4, scale=1.0),
    ]
    return CausalStack(layers, 4, lookahead=lookahead, factor=3)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3), st.integers(1, 2))
def test_pieces_are_the_whole(cuts: list[int], lookahead: int, batch: int) -> None:
    made = stack(lookahead)
    x = torch.randn(batch, sum(cuts), 4)
    whole = made.whole(x)
    assert whole.shape == (batch, 3 * sum(cuts), 5)
    stream = made.stream(batch)
    for _ in range(2):  # when one has ended, the next begins afresh
        pieces = list(stream.over(x.split(cuts, dim=1)))
        got = torch.cat([whole[:, :0], *pieces], dim=1)
        torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depthwise", [True, False])
@pytest.mark.parametrize("frames", [1, FEW, FEW + 1])
def test_both_ways_to_convolve_are_conv1d(depthwise: bool, frames: int) -> None:
    conv = CausalConv(6, 5, None if depthwise else 4, depthwise=depthwise)
    nn.init.normal_(conv.bias)
    x = torch.randn(2, frames, 6)
    wanted = F.conv1d(F.pad(x.mT, (4, 0)), conv.weight, conv.bias, groups=6 if depthwise else 1).mT
    both = F.conv1d(F.pad(x.mT, (2, 2)), conv.weight, conv.bias, groups=6 if depthwise else 1).mT
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            torch.testing.assert_close(conv(x)[0], wanted, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(conv.centered(x), both, atol=1e-5, rtol=1e-5)


def test_no_state_is_the_state_of_silence() -> None:
    made, x = stack(), torch.randn(2, 7, 4)
    assert [tuple(one.shape) for one in made.start(2)] == [(2, *memory) for memory in made.memories]
    one, states = made(x)
    other, others = made(x, made.start(2))
    torch.testing.assert_close(one, other)
    for state, same in zip(states, others, strict=True):
        torch.testing.assert_close(state, same)


@pytest.mark.parametrize("lookahead", [0, 1, 3])
def test_a_frame_sees_as_far_as_the_lookahead(lookahead: int) -> None:
    made, x = stack(lookahead), torch.randn(1, 12, 4)
    before = made.whole(x)
    changed = x.clone()
    changed[:, 8] += 1
    moved = (made.whole(changed) != before).any(-1)[0].nonzero()
    assert moved.min() == 3 * (8 - lookahead)


def test_centered_blocks_see_both_ways() -> None:
    block, x = ConvNeXt(WIDTH, scale=1.0), torch.randn(1, 20, WIDTH)
    changed = x.clone()
    changed[:, 10] += 1
    moved = (block.centered(changed) != block.centered(x)).any(-1)[0].nonzero()
    assert (moved.min(), moved.max()) == (7, 13)


def test_gradients_reach_every_weight() -> None:
    made = stack()
    made.whole(torch.randn(2, 9, 4)).square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in made.parameters())
