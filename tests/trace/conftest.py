"""A picture, a second of sound, and the command. Lets the tests of this folder import ``runs_of_tiny_parts``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from muomni_cli import app

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``x.png`` and ``y.wav``, one second long, and no runs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)).save("x.png")
    soundfile.write("y.wav", rng.normal(size=16000).astype(np.float32) / 10, 16000, subtype="FLOAT")
    return tmp_path


@pytest.fixture
def muomni(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``muomni("hello", "--json")`` runs ``muomni trace``; exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            app.main(["trace", *words])
        assert isinstance(raised.value.code, int)
        return raised.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def steps(muomni: Callable[..., tuple[int, str, str]]) -> Callable[..., list[dict[str, object]]]:
    """The steps that ``muomni trace --json`` prints."""

    def call(*words: str) -> list[dict[str, object]]:
        code, out, err = muomni(*words, "--json")
        assert code == 0, err
        found: list[dict[str, object]] = json.loads(out)
        return found

    return call
