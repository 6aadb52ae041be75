"""Coloured squares and tones to ask questions about; lets the tests of this folder import ``test_config``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small import TONES, make_world

from muomni_cli.commands.train import train


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``small.toml``, and questions about nine pictures and six sounds."""
    monkeypatch.chdir(tmp_path)
    make_world()
    return tmp_path


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a run ``test_config`` that has done one step, and an encoder that transcribes, for who only asks."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUOMNI_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        make_world()
        Path("heard.jsonl").write_text(
            "".join(
                f'{{"audio": "{tone}{n}.wav", "text": "{tone}", "split": "{side}"}}\n'
                for tone in TONES
                for n, side in ((0, "train"), (6, "val"))
            )
        )
        heard = ['data.audio=[{use="manifest",path="heard.jsonl",modality="audio"}]']
        train("tokenizer", "small.toml")
        train("audio", "small.toml", [*heard, "train.audio.steps=1", "train.audio.batch_size=2"])
        train("omni", "small.toml", [*heard, "train.omni.steps=1"])
    return folder


@pytest.fixture
def trained(once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of :func:`once` as the working directory."""
    monkeypatch.chdir(once)
    return once
