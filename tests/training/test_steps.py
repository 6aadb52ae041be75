"""What one step does: accumulation, checkpointing of activations, learning, and the guard against NaN."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import NextToken, settings, trainer

from muomni_cli.core.errors import MuomniError
from muomni_cli.nn import device
from muomni_cli.runs.checkpoint import read_checkpoint
from muomni_cli.training.step import Stepper


def weights_after(steps: int = 3, dropout: float = 0.0, **changes: object) -> dict[str, torch.Tensor]:
    chosen = settings(steps=steps, clip=0.5, **changes)
    objective = NextToken(chosen, dropout=dropout)
    stepper = Stepper(objective, chosen, torch.device("cpu"))
    start = {name: p.detach().clone() for name, p in objective.module.named_parameters()}
    torch.manual_seed(3)
    for step in range(steps):
        stepper.step(step, [objective.batch(step, micro) for micro in range(chosen.accumulate)])
    end = {name: p.detach().clone() for name, p in objective.module.named_parameters()}
    assert all(not torch.equal(start[name], end[name]) for name in start), "every parameter must have moved"
    return end


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulation_changes_nothing_but_memory(accumulate: int) -> None:
    whole, parts = weights_after(), weights_after(accumulate=accumulate)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-6, rtol=0)


def test_checkpointed_activations_give_the_same_weights_with_dropout() -> None:
    plain, forgetful = weights_after(dropout=0.3), weights_after(dropout=0.3, checkpoint_activations=True)
    assert all(torch.equal(plain[name], forgetful[name]) for name in plain)


def test_bf16_trains_fp32_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda _: True)
    half, full = weights_after(precision="bf16"), weights_after()
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert any(not torch.equal(half[name], full[name]) for name in full)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_processor_without_bf16_trains_in_fp32(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    monkeypatch.setattr(device, "multiplies_bf16", lambda _: False)
    asked, full = weights_after(precision="bf16", optimizer=optimizer), weights_after(optimizer=optimizer)
    assert all(torch.equal(asked[name], full[name]) for name in full)


def test_that_training_is_in_fp32_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("muomni_cli.training.loop.multiplies_bf16", lambda _: False)
    chosen = settings(steps=2, precision="bf16")
    training = trainer(tmp_path, chosen)
    said: list[str] = []
    monkeypatch.setattr(training.display, "say", said.append)
    training.run()
    assert "training in fp32" in said[0]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_overfits_one_batch(optimizer: str) -> None:
    chosen = settings(steps=150, schedule="constant", optimizer=optimizer, lr=0.03)
    objective = NextToken(chosen)
    stepper = Stepper(objective, chosen, torch.device("cpu"))
    for step in range(150):
        stepper.step(step, [objective.batch(0, 0)])
        names, values = stepper.read_window()
    assert values[1 + names.index("loss")] < 0.02


def test_clipping_bounds_the_gradient_and_reports_its_norm_before() -> None:
    objective = NextToken(settings(clip=1e-3))
    stepper = Stepper(objective, settings(clip=1e-3), torch.device("cpu"))
    seen: list[float] = []
    step = stepper.optimizers.step
    stepper.optimizers.step = lambda *args: (  # type: ignore[method-assign]
        seen.append(torch.nn.utils.get_total_norm([p.grad for p in objective.module.parameters()]).item()),
        step(*args),
    )[1]
    stepper.step(0, [objective.batch(0, 0)])
    names, values = stepper.read_window()
    assert seen[0] == pytest.approx(1e-3, rel=1e-2)
    assert values[1 + names.index("grad_norm")] > 0.01


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("log_every", [1, 4])
def test_a_loss_that_is_no_number_never_reaches_the_weights(tmp_path: Path, optimizer: str, log_every: int) -> None:
    common = {"optimizer": optimizer, "ema": 0.9, "accumulate": 2, "log_every": log_every}
    good = trainer(tmp_path / "good", settings(steps=8, save_every=3, **common))
    poisoned = trainer(tmp_path / "bad", settings(steps=8, save_every=3, **common), poison=4)
    with pytest.raises(MuomniError, match="step 5") as caught:
        poisoned.run()
    bad = tmp_path / "bad" / "tiny"
    assert str(bad / "bad-batch-5.safetensors") in caught.value.what
    kept = load_file(bad / "bad-batch-5.safetensors")
    assert torch.equal(kept["1.ids"], poisoned.objective.batch(4, 1).tensors["ids"])
    assert kept["0.scale"].isnan()
    assert read_checkpoint(bad / "last.safetensors").header["step"] == 3
    stepper = good.stepper
    for step in range(4):
        stepper.step(step, [good.objective.batch(step, micro) for micro in range(2)])
    for a, b in zip(good.objective.module.parameters(), poisoned.objective.module.parameters(), strict=True):
        assert torch.equal(a, b)
