"""Which optimiser moves what, and that each moves it as its paper says."""

from __future__ import annotations

import pytest
import torch
from tiny import Model, settings
from torch import nn

from muomni_cli.nn import device
from muomni_cli.training.optim import Ema, Muon, Optimizers, orthogonalize

NEVER = torch.tensor(False)


def filled(module: nn.Module) -> None:
    torch.manual_seed(1)
    for p in module.parameters():
        p.grad = torch.randn_like(p)


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("shape", [(8, 8), (16, 8), (8, 24)])
def test_muon_is_what_pytorch_has(monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], half: bool) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda _: half)
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for _ in range(3)]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    mine = Muon(ours, lr=0.02, weight_decay=0.1)
    reference = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1)
    for step in range(3):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        mine.step()
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-3, rtol=0)  # bfloat16, summed in another order


def test_orthogonalize_brings_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(2, 32, 64)).float())
    assert values.min() > 0.4
    assert values.max() < 1.3


def test_muon_moves_hidden_matrices_and_nothing_else() -> None:
    module = Model(0.0)
    optimizers = Optimizers(module, settings(optimizer="muon"), frozenset({"table.weight"}))
    moved = {id(p) for group in optimizers.named["muon"].param_groups for p in group["params"]}
    assert {name for name, p in module.named_parameters() if id(p) in moved} == {
        f"blocks.{i}.{layer}.weight" for i in range(2) for layer in ("up", "down")
    }
    left = {id(p) for group in optimizers.named["adamw"].param_groups for p in group["params"]}
    assert not moved & left
    assert len(moved | left) == len(list(module.parameters()))


def test_vectors_and_tables_are_never_decayed() -> None:
    module = Model(0.0)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    optimizers = Optimizers(module, settings(weight_decay=0.5, warmup_steps=0, lr=0.1))
    for p in module.parameters():
        p.grad = torch.zeros_like(p)
    optimizers.step(0, NEVER)
    changed = {name for name, p in module.named_parameters() if not torch.equal(p, before[name])}
    assert changed == {f"blocks.{i}.{layer}.weight" for i in range(2) for layer in ("up", "down")}


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_skipped_step_changes_neither_weights_nor_state(name: str) -> None:
    module = Model(0.0)
    optimizers = Optimizers(module, settings(optimizer=name, weight_decay=0.1), frozenset({"table.weight"}))
    filled(module)
    optimizers.step(0, NEVER)
    weights = [p.detach().clone() for p in module.parameters()]
    state = {key: value.clone() for key, value in optimizers.state_tensors().items()}
    assert state
    for p in module.parameters():
        p.grad = torch.full_like(p, float("nan"))
    optimizers.step(1, torch.tensor(True))
    assert all(torch.equal(a, b) for a, b in zip(weights, module.parameters(), strict=True))
    assert all(torch.equal(state[key], value) for key, value in optimizers.state_tensors().items())


def test_ema_is_the_weighted_sum_of_all_weights_seen() -> None:
    layer = nn.Linear(2, 2, bias=False)
    ema = Ema(dict(layer.named_parameters()), decay=0.6)
    expected = layer.weight.detach().clone()
    for step in range(6):
        with torch.no_grad():
            layer.weight.add_(step)
        ema.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(ema.average["weight"], expected)
    own = layer.weight.detach().clone()
    with ema.applied():
        torch.testing.assert_close(layer.weight.detach(), expected)
    assert torch.equal(layer.weight, own)
