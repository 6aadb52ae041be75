"""Several processes take the steps that one takes: losses, weights, averages, whatever takes part in a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import STEPS, settings, trainer
from safetensors.torch import load_file

from muomni_cli.nn import device
from muomni_cli.training.distributed.strategy import Strategy

pytestmark = pytest.mark.long

FAST = ("exact64", "exact32", "accumulated", "muon", "part", "poisoned", "stopped")
ROUGH = 3e-2 if device.multiplies_bf16("cpu") else 1e-5  # Muon orthogonalizes in bfloat16 where there is
Together = Callable[..., Path]


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "branches" / "metrics.jsonl").read_text().splitlines()]


def alone(folder: Path, *, dtype: torch.dtype = torch.float64, **changes: Any) -> list[dict[str, Any]]:
    """What one process logs."""
    trainer(folder, settings(**changes), Strategy(), dtype=dtype).run()
    return rows(folder)


def require_equal(one: list[dict[str, Any]], other: list[dict[str, Any]], tolerance: float, until: int = STEPS) -> None:
    assert len(one) == len(other) > 9
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for name in a.keys() - {"time", "memory", "tokens/s"} if a["step"] <= until else ():
            assert b[name] == pytest.approx(a[name], rel=tolerance, abs=1e-12), (a["step"], name)


def weights(folder: Path, section: str = "model") -> dict[str, torch.Tensor]:
    found = load_file(folder / "branches" / "last.safetensors")
    return {name: tensor for name, tensor in found.items() if name.startswith(f"{section}.")}


@pytest.fixture
def two(together: Together) -> Path:
    return together(2, *FAST)


def require_one_training(one: Path, other: Path) -> None:
    """The same losses, weights, averages and optimizer state."""
    require_equal(rows(one), rows(other), 1e-9)
    for section in ("model", "ema", "optim"):
        ours, theirs = weights(one, section), weights(other, section)
        assert ours.keys() == theirs.keys() != set()
        for key, tensor in ours.items():  # moments near zero move weights by chance: bounded, not equal
            torch.testing.assert_close(theirs[key], tensor, rtol=1e-6, atol=1e-9)
    assert weights(one)["model.seen"] == weights(other)["model.seen"] == 40, "of 50 steps ten had no target"


def test_in_float64_two_processes_are_one(two: Path, tmp_path: Path) -> None:
    alone(tmp_path)
    require_one_training(tmp_path, two / "exact64")


@pytest.mark.slow
def test_two_processes_that_share_the_weights_are_one(run: Callable[..., None], tmp_path: Path) -> None:
    alone(tmp_path)
    run(tmp_path, 2, "sharded", "sharded_muon")
    require_one_training(tmp_path, tmp_path / "sharded")
    assert not (tmp_path / "sharded" / "branches" / "last.parts").exists()
    muon = alone(tmp_path / "muon", dtype=torch.float32, optimizer="muon", steps=10)
    require_equal(muon, rows(tmp_path / "sharded_muon"), ROUGH)


def test_in_float32_losses_stay_close(two: Path, tmp_path: Path) -> None:
    one, other = alone(tmp_path, dtype=torch.float32), rows(two / "exact32")
    require_equal(one, other, 1e-5, until=10)
    ends = [[row["loss"] for row in rows if "loss" in row][-1] for rows in (one, other)]
    assert ends[1] == pytest.approx(ends[0], rel=1e-3)


def test_accumulation_in_two_processes_is_that_of_one(two: Path, tmp_path: Path) -> None:
    require_equal(alone(tmp_path, accumulate=4, val_every=0), rows(two / "accumulated"), 1e-9)


def test_muon_in_two_processes_is_that_of_one(two: Path, tmp_path: Path) -> None:
    require_equal(alone(tmp_path, dtype=torch.float32, optimizer="muon", steps=10), rows(two / "muon"), ROUGH)


def test_one_process_goes_on_where_two_stopped(two: Path, tmp_path: Path) -> None:
    whole = alone(tmp_path / "whole", schedule="constant", val_every=0)
    (two / "part").rename(tmp_path / "part")
    training = trainer(tmp_path / "part", settings(schedule="constant", val_every=0), Strategy())
    training.run(resume=True)
    (tmp_path / "part").rename(two / "part")
    require_equal(whole, rows(two / "part"), 1e-9)


def test_what_is_no_number_in_one_process_stops_all_before_any_weight(two: Path) -> None:
    told = [json.loads((two / "poisoned" / f"{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert "not finite in step 32" in told[0]["what"]
    assert torch.isnan(load_file(two / "poisoned" / "branches" / "bad-batch-32.safetensors")["1.scale"]).any()
    assert all(tensor.isfinite().all() for tensor in weights(two / "poisoned").values())


def test_a_signal_to_one_process_stops_all_at_the_same_step(two: Path) -> None:
    told = [json.loads((two / "stopped" / f"{rank}.json").read_text()) for rank in range(2)]
    assert told[0] == told[1]
    assert "stopped by SIGTERM after step" in told[0]["what"]
    assert told[0]["code"] == 143
    step = int(told[0]["what"].partition("after step ")[2].partition(" of")[0])
    assert rows(two / "stopped")[-1]["step"] == step


@pytest.mark.slow
def test_four_processes_are_one(run: Callable[..., None], tmp_path: Path) -> None:
    run(tmp_path, 4, "exact64", "exact32", "sharded")
    alone(tmp_path / "one")
    for name in ("exact64", "sharded"):
        require_one_training(tmp_path / "one", tmp_path / name)
    require_equal(alone(tmp_path / "32", dtype=torch.float32), rows(tmp_path / "exact32"), 1e-5, until=10)


@pytest.mark.slow
def test_shares_are_as_large_as_the_page_says(run: Callable[..., None], tmp_path: Path) -> None:
    run(tmp_path, 2, "held")
    for optimizer in ("adamw", "muon"):
        ddp, fsdp = (
            [json.loads((tmp_path / "held" / f"{kind}-{optimizer}-{rank}.json").read_text()) for rank in range(2)]
            for kind in ("ddp", "fsdp")
        )
        assert ddp[0] == ddp[1]
        for name, whole in ddp[0].items():  # rows are dealt out whole, so the shares of an odd number differ by one
            assert sum(own[name] for own in fsdp) == whole
            assert all(own[name] == pytest.approx(whole / 2, rel=0.1) for own in fsdp)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resumed", "resumed_sharded"])
def test_two_processes_go_on_where_one_stopped(tmp_path: Path, run: Callable[..., None], name: str) -> None:
    whole = alone(tmp_path / "whole", schedule="constant", val_every=0)
    alone(tmp_path / name, schedule="constant", steps=23, val_every=0)
    run(tmp_path, 2, name)
    require_equal(whole, rows(tmp_path / name), 1e-9)
