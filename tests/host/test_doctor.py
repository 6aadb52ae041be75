"""The doctor tells what is there from what is broken, and its exit code says which."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from muomni_cli.commands import doctor

Install = Callable[..., Path]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]


def found(checks: list[doctor.Diagnostic]) -> dict[str, doctor.Diagnostic]:
    return {check.name: check for check in checks}


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without PyTorch, which also keeps these tests quick."""
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("no_torch")
def test_absent_torch_is_a_note() -> None:
    check = found(doctor.examine())["torch"]
    assert check.status == "note"
    assert "pip install 'muomni[train]'" in check.found


def test_torch_that_does_not_import_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    check = found(doctor.examine())["torch"]
    assert (check.status, check.found) == ("broken", "OSError: libcudart.so is missing")


def runtime(monkeypatch: pytest.MonkeyPatch, **versions: str) -> doctor.Diagnostic:
    """What is said of the runtimes that are installed in these versions."""
    there = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(doctor, "_version", there.get)
    return next(doctor._runtimes())


def test_one_runtime_is_named_with_what_it_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    for name in doctor.RUNTIMES:
        check = runtime(monkeypatch, **{name: "1.30"})
        assert (check.status, check.found.split(",")[0]) == ("ok", f"{name} 1.30")
        assert "CPU" in check.found


def test_two_runtimes_in_one_folder_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    check = runtime(monkeypatch, onnxruntime="1.32", onnxruntime_gpu="1.31")
    assert check.status == "broken"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu" in check.found


def test_no_runtime_is_a_note_and_one_that_does_not_import_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    check = runtime(monkeypatch)
    assert (check.status, "pip install onnxruntime" in check.found) == ("note", True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert runtime(monkeypatch, onnxruntime="1.32").status == "broken"


@pytest.mark.usefixtures("no_torch")
def test_folder_that_cannot_be_made_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "file" / "cache"))
    check = found(doctor.examine())["cache folder"]
    assert check.status == "broken"
    assert str(tmp_path / "file" / "cache") in check.found


@pytest.mark.usefixtures("no_torch")
@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_folder_without_permission_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    monkeypatch.setenv("MUOMNI_CONFIG", str(tmp_path / "locked" / "config"))
    assert found(doctor.examine())["config folder"].status == "broken"


def test_broken_plugin_makes_it_exit_1(install: Install, muomni: Muomni, strangers: Path) -> None:
    (strangers / "torch.py").write_text("__version__ = '2'\nraise ModuleNotFoundError(name='torch')")
    assert muomni("doctor", "--json").returncode == 0
    install("sad", "raise ValueError('rain')")
    done = muomni("doctor", "--json")
    assert done.returncode == 1
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert checks["plugin sad"] == {"name": "plugin sad", "status": "broken", "found": "ValueError: rain"}
