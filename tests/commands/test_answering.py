"""A model without a Thinker whose encoder has a grammar: one line of JSON, as a run and as a bundle; its refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from muomni_cli import app, load
from muomni_cli.api import RequestError
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder
from tests.commands.conftest import LAMP

SIZES = {"n_mels": 32, "channels": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "kernel": 5}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with an audio encoder whose large weights hear letters in anything."""
    root = tmp_path_factory.mktemp("lamp") / "lamp"
    registered = get_registry().get("encoder", "listener")
    settings = {**SIZES, "loudness": False, "max_seconds": 5.0, "grammar": LAMP}
    config = registered.part.config.model_validate(settings)
    torch.manual_seed(0)
    module = resolve("muomni_audio_encoder.recognizer:build")(config).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(4 if parameter.ndim == 2 else 1)
        nn.init.normal_(module.head.weight, std=2.0)
    run = RunFolder(root)
    write_checkpoint(run.stage("audio") / "last.safetensors", {"step": 7}, {"model": model_tensors(module)})
    run.record("audio", {"status": "finished"}, part_entry(registered, config, "audio/last.safetensors"))
    return root


@pytest.fixture(scope="module")
def bundle(model: Path) -> Path:
    pytest.importorskip("onnxscript")
    folder = model.parent / "bundle"
    words = ["export", "-m", str(model), "--onnx", "-o", str(folder), "--precision", "int8"]
    done = subprocess.run([sys.executable, "-m", "muomni_cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    wave = np.random.default_rng(0).normal(scale=0.1, size=24_000)
    soundfile.write(tmp_path / "order.wav", wave, 16_000)
    return tmp_path / "order.wav"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def typed(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main(list(words))
        heard = capsys.readouterr()
        return int(ended.value.code or 0), heard.out, heard.err

    return typed


def require_command(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line)
    assert list(found) == ["intent", "slots"]
    assert found["intent"] in (None, *LAMP["intents"])
    assert all(value in LAMP["slots"][slot] for slot, value in found["slots"].items())
    assert found["intent"] or not found["slots"]
    return found


def test_stdout_is_one_line_of_json_without_a_text(run: Run, model: Path, sound: Path) -> None:
    code, out, err = run("chat", "-m", str(model), "--audio", str(sound))
    assert code == 0, err
    assert out.endswith("\n")
    assert out.count("\n") == 1
    require_command(out)
    with load(model) as opened:
        assert opened.chat(audio=sound) == out.strip()
        assert "".join(opened.chat_stream(audio=sound)) == out.strip()
        assert "chat" in opened.capabilities


def test_samples_are_heard_as_the_file_is(model: Path, sound: Path) -> None:
    samples, rate = soundfile.read(sound, dtype="float32")
    with load(model) as opened:
        assert opened.chat(audio=(samples, rate)) == opened.chat(audio=sound) == opened.chat(audio=sound.read_bytes())


def test_json_names_the_model(run: Run, model: Path, sound: Path) -> None:
    code, out, _ = run("chat", "-m", str(model), "--audio", str(sound), "--json")
    assert code == 0
    require_command(json.loads(out)["text"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["turn it on", "--audio", "order.wav"], "takes no text"),
        (["--audio", "order.wav", "--audio", "order.wav"], "one input of audio"),
        (["hello"], "takes no text"),
        (["--audio", "absent.wav"], "absent.wav"),
        (["--image", "order.wav"], "no encoder for image"),
    ],
)
def test_what_it_cannot_answer_is_refused(
    run: Run, model: Path, sound: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(sound.parent)
    code, out, err = run("chat", "-m", str(model), *words)
    assert (code, out) == (2, "")
    assert said in err


def test_no_recording_is_no_question(model: Path) -> None:
    with load(model) as opened, pytest.raises(RequestError, match=r"one input|audio"):
        opened.chat()


def test_a_bundle_answers_the_same_without_torch(model: Path, bundle: Path, sound: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from muomni_cli import load\n"
        f"print(load({str(bundle)!r}).chat(audio={str(sound)!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ}
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with load(model) as opened:
        assert opened.chat(audio=sound) == done.stdout.strip()
