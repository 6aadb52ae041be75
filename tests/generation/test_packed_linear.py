"""Layers in panels compute what they computed before, for every number of rows and every odd size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from muomni_cli.generation.torch_backend import PackedLinear, pack_linear_layers
from muomni_thinker.model import build
from muomni_thinker.plugin import TransformerConfig


@settings(max_examples=40, deadline=None)
@given(
    outputs=st.integers(1, 100),
    inputs=st.integers(1, 40),
    rows=st.integers(1, 5),
    bias=st.booleans(),
    cube=st.booleans(),
)
def test_the_function_stays(outputs: int, inputs: int, rows: int, bias: bool, cube: bool) -> None:
    torch.manual_seed(outputs * 1000 + inputs)
    linear = nn.Linear(inputs, outputs, bias=bias)
    x = torch.randn(2, rows, inputs) if cube else torch.randn(rows, inputs)
    with torch.inference_mode():
        torch.testing.assert_close(PackedLinear(linear)(x), linear(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_a_thinker_in_panels_gives_the_same_logits(tied: bool) -> None:
    torch.manual_seed(0)
    config = TransformerConfig(
        d_model=48, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=72, ctx_len=32, tie_embeddings=tied
    )
    thinker = build(config, 77).eval()
    ids = torch.randint(0, 77, (3, 12))
    with torch.inference_mode():
        before = thinker(ids).logits
        pack_linear_layers(thinker)
        assert not any(isinstance(layer, nn.Linear) for layer in thinker.modules())
        torch.testing.assert_close(thinker(ids).logits, before, atol=1e-5, rtol=1e-5)
        cache = thinker.new_cache(3, 12)
        steps = [thinker(ids[:, place : place + 1], cache=cache).logits for place in range(12)]
    torch.testing.assert_close(torch.cat(steps, dim=1), before, atol=1e-5, rtol=1e-5)


def test_a_layer_whose_weight_is_used_elsewhere_is_left_alone() -> None:
    table = nn.Embedding(9, 4)
    head = nn.Linear(4, 9, bias=False)
    head.weight = table.weight
    model = nn.Sequential(table, head, nn.Linear(9, 3))
    pack_linear_layers(model)
    assert model[1] is head
    assert isinstance(model[2], PackedLinear)
