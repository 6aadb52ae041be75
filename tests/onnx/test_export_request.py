# ruff: noqa: E402
"""What `muomni export` takes for granted: the format, the newest run, a folder named after the model; and that it
replaces nothing unasked."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

from muomni_cli.app import main
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import new_folder
from muomni_cli.models.run_engine import RunEngine
from muomni_onnx import parity
from muomni_onnx.bundle import open_bundle
from muomni_onnx.sources import find_trained

Run = Callable[..., tuple[int, str]]
Made = tuple[Path, RunEngine]


@pytest.fixture
def muomni(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``muomni("export")`` in an empty folder -> exit code, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main(words)
        return int(exit_.value.code or 0), capsys.readouterr().err

    return run


@pytest.fixture
def exported(made: Made, muomni: Run) -> Path:  # noqa: ARG001
    """``mine-onnx``: an earlier export of something else."""
    return Path(shutil.copytree(made[0], "mine-onnx"))


def joint_run(made: Made) -> Path:
    return Path(shutil.copytree(made[1].run.root, "runs/mine"))


def names(folder: Path = Path()) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_without_words_the_newest_run_goes_to_a_folder_of_its_name(made: Made, muomni: Run) -> None:
    joint_run(made)
    code, told = muomni("export")
    assert code == 0
    assert told.splitlines()[0] == f"exporting mine ({Path('runs/mine')}) to mine-onnx"
    assert "muomni export check mine-onnx" in told
    assert open_bundle(Path("mine-onnx")).manifest["name"] == "mine"
    assert names() == {"runs", "mine-onnx"}


@pytest.mark.parametrize("words", [[], ["-o", "mine-onnx"]])
def test_an_earlier_export_is_replaced_only_when_asked(
    words: list[str], made: Made, exported: Path, muomni: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    joint_run(made)
    before = open_bundle(exported).manifest
    code, told = muomni("export", "--onnx", *words)
    assert code == 2
    lines = told.splitlines()
    assert lines[-2] == "error: mine-onnx is there already"
    assert "--force" in lines[-1]
    assert open_bundle(exported).manifest == before
    with monkeypatch.context() as patch:  # a graph that fails its comparison leaves the old folder as it was
        patch.setattr(parity.Parity, "holds", property(lambda _: False))
        assert muomni("export", "--force", *words)[0] == 1
    assert open_bundle(exported).manifest == before
    assert names() == {"runs", "mine-onnx"}
    assert muomni("export", "--force", *words)[0] == 0
    assert open_bundle(exported).manifest["name"] == "mine"
    open_bundle(exported).verify()
    assert names() == {"runs", "mine-onnx"}


def test_a_folder_that_is_no_export_is_never_replaced(made: Made, muomni: Run) -> None:
    joint_run(made)
    Path("mine-onnx").mkdir()
    Path("mine-onnx/thesis.txt").write_text("x")
    code, told = muomni("export", "--force")
    assert code == 2
    assert "mine-onnx is there already, and is not an export" in told
    assert Path("mine-onnx/thesis.txt").read_text() == "x"


def test_an_installed_model_goes_by_its_name() -> None:
    found = find_trained("nano")
    assert found.name == "nano"
    assert found.run.name == "run"


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").touch()
    with pytest.raises(RequestError, match="is there already"), new_folder(root):
        pass
    with pytest.raises(MuomniError, match="no room"):
        _fill(root)
    assert names(root) == {"old"}
    with new_folder(root, replace=True) as folder:
        (folder / "new").touch()
        assert names(root) == {"old"}
    assert names(root) == {"new"}
    assert names(tmp_path) == {"root"}


def _fill(root: Path) -> None:
    with new_folder(root, replace=True) as folder:
        (folder / "new").touch()
        raise OSError("no room")
