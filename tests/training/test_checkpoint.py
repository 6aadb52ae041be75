"""Checkpoints are whole, ours, or refused; a full disk costs nothing that was there before."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import Model, settings, trainer

from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import replacing, write_text
from muomni_cli.runs.checkpoint import load_model, model_tensors, read_checkpoint, write_checkpoint
from muomni_cli.runs.run import read_header


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, {"step": 3}, {"model": model_tensors(Model(0.0))})
    return path


def test_weights_come_back_exactly_and_tied_ones_once(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    assert "table.weight" in checkpoint.section("model")
    assert "head.weight" not in checkpoint.section("model")
    module = Model(0.0)
    load_model(module, checkpoint)
    assert all(torch.equal(t, checkpoint.section("model")[name]) for name, t in model_tensors(module).items())
    assert module.head.weight is module.table.weight


def test_the_average_is_used_where_there_is_one(tmp_path: Path) -> None:
    weights = model_tensors(Model(0.0))
    average = {name: tensor + 1 for name, tensor in weights.items()}
    write_checkpoint(tmp_path / "c", {}, {"model": weights, "ema": average})
    module = Model(0.0)
    load_model(module, read_checkpoint(tmp_path / "c"), ema=True)
    assert torch.equal(module.table.weight, average["table.weight"])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_cut_short(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(RequestError, match="damaged, truncated or not a checkpoint") as caught:
        read_checkpoint(saved)
    assert "--force" in caught.value.fix


def test_missing_foreign_and_newer(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no checkpoint"):
        read_header(tmp_path / "nothing")
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign")
    with pytest.raises(RequestError, match="not a muomni checkpoint"):
        read_header(tmp_path / "foreign")
    save_file({"a": torch.zeros(1)}, tmp_path / "newer", {"muomni": json.dumps({"format": 99})})
    with pytest.raises(RequestError, match="format 99"):
        read_header(tmp_path / "newer")
    with pytest.raises(RequestError, match="does not fit this model"):
        load_model(torch.nn.Linear(2, 2), read_checkpoint(saved))


def test_resuming_from_a_half_written_checkpoint_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=2)).run()
    last = tmp_path / "tiny" / "last.safetensors"
    last.write_bytes(last.read_bytes()[:-9])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="damaged, truncated"):
        trainer(tmp_path, settings(steps=4)).run(resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_full_disk_keeps_the_old_checkpoint(tmp_path: Path) -> None:
    trainer(tmp_path, settings(steps=2)).run()
    last = tmp_path / "tiny" / "last.safetensors"
    before = last.read_bytes()
    limit = len(before) // 2  # files cannot grow beyond this in the process below

    def starve() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("tiny.py"), tmp_path, '{"steps": 4}', "resume"],
        preexec_fn=starve,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert f"error: could not write {last}" in done.stderr
    assert "Traceback" not in done.stderr
    assert last.read_bytes() == before
    assert not list(last.parent.glob(".*"))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(MuomniError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]
