"""A small model that sees and hears, and the bundle made of it once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "omni"))

from small import make_world

from muomni_cli.commands.train import train
from muomni_cli.core.console import say
from muomni_cli.models.run_engine import RunEngine
from tests.conftest import made_once, shared_folder
from tests.opening import run_engine

if TYPE_CHECKING:
    from muomni_onnx.graphs import Model


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunEngine]:
    """The bundle, and the run that it was made of; made once, in whichever worker."""
    folder = shared_folder(tmp_path_factory) / "exported"
    made_once(folder, _make)
    return folder / "bundle", run_engine(str(folder / "runs" / "small"))


def _make(folder: Path) -> None:
    from muomni_onnx.export import export
    from muomni_onnx.sources import find_trained, model_of

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUOMNI_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        make_world()
        train("tokenizer", "small.toml")
        train("omni", "small.toml", ["train.omni.steps=1"])
        export(model_of(find_trained("small")), folder / "bundle", notify=say)


@pytest.fixture(scope="session")
def model(made: tuple[Path, RunEngine]) -> Model:
    """What the bundle was made of, opened."""
    from muomni_onnx.sources import Trained, model_of

    return model_of(Trained(made[1].run))


@pytest.fixture
def bundle(made: tuple[Path, RunEngine], tmp_path: Path) -> Path:
    """A copy of the bundle, to do what one likes with."""
    return Path(shutil.copytree(made[0], tmp_path / "bundle"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a tiny Thinker's graphs, and what a manifest says of them."""
    from tests.onnx.thinker_parts import write_thinker

    folder = tmp_path_factory.mktemp("tiny")
    return folder, write_thinker(folder)
