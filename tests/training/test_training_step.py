"""What one step does: accumulation, checkpointing of activations, learning, and the guard against NaN."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny import NextToken, settings, trainer

from muomni_cli.api import Batch, Loss, Sample
from muomni_cli.core.errors import MuomniError, RequestError
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


class Constant:
    """An objective whose every target costs ``value`` nats, with these numbers of targets in each step."""

    unit = "targets"
    adamw_params: frozenset[str] = frozenset()
    blocks = ()

    def __init__(self, counts: Sequence[Sequence[int]], value: float = 2.5) -> None:
        self.module = torch.nn.Linear(1, 1, bias=False)
        self.counts, self.value = counts, value

    def batch(self, step: int, micro: int) -> Batch:
        count = self.counts[step][micro]
        return Batch({"targets": torch.tensor(float(count))}, float(count), count + 1)

    def loss(self, batch: Batch) -> Loss:
        zero = 0.0 * self.module.weight.sum()
        return Loss(self.value * batch.tensors["targets"] + zero, {"twice": 2 * self.value * batch.tensors["targets"]})

    def validate(self) -> dict[str, float]:
        return {"loss": self.value}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        return ()


@given(
    counts=st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=9),
    every=st.integers(1, 9),
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_the_logged_loss_is_a_mean_over_targets(counts: list[list[int]], every: int) -> None:
    objective: Any = Constant(counts)
    stepper = Stepper(objective, settings(accumulate=2), torch.device("cpu"))
    for begin in range(0, len(counts), every):
        idle = 0
        for step in range(begin, min(begin + every, len(counts))):
            before = objective.module.weight.detach().clone()
            stepper.step(step, [objective.batch(step, micro) for micro in range(2)])
            idle += not sum(counts[step])
            assert sum(counts[step]) or torch.equal(before, objective.module.weight)
        assert stepper.idle == idle
        names, values = stepper.read_window()
        found = dict(zip(names, values[1:].tolist(), strict=True))
        if any(map(sum, counts[begin : begin + every])):
            assert (found["loss"], found["twice"]) == (pytest.approx(2.5), pytest.approx(5.0))
        else:
            assert found == {}


def test_steps_without_targets_are_counted_in_the_log(tmp_path: Path) -> None:
    counts = [[3], [0], [0], [2], [0], [0]]
    training = trainer(tmp_path, settings(log_every=2))
    training.objective = objective = Constant(counts)  # type: ignore[assignment]
    training.stepper = Stepper(objective, training.settings, torch.device("cpu"))  # type: ignore[arg-type]
    training.run()
    rows = [json.loads(line) for line in (training.folder / "metrics.jsonl").read_text().splitlines()]
    assert [row.get("steps_without_targets") for row in rows] == [1, 1, 2]
    assert [row.get("loss") for row in rows] == [2.5, 2.5, None]


def test_a_stage_without_any_target_is_an_error(tmp_path: Path) -> None:
    training = trainer(tmp_path, settings(val_every=3))
    training.objective = objective = Constant([[0]] * 6)  # type: ignore[assignment]
    training.stepper = Stepper(objective, training.settings, torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="none of the 3 steps so far had a target"):
        training.run()
    assert not training.last.exists()


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
