"""``muomni listen``: which encoder is found, what is written, and what is refused."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from muomni_cli import app
from muomni_cli.api import FileMedia, RequestError, Word
from muomni_cli.inference.transcription import MOST_SECONDS, MOST_WORDS, PAUSE, blocks, clock, subtitles, write_lines
from muomni_cli.models.engines import CAN_TRANSCRIBE, open_engine
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder

SIZES = {"n_mels": 32, "channels": 8, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "max_seconds": 5.0}


def make_run(root: Path, seed: int = 0, names: tuple[str, ...] = ("last",), characters: str = " ab") -> nn.Module:
    """A run with an audio encoder whose large weights hear letters in anything; gives the module of the last file."""
    registered = get_registry().get("encoder", "listener")
    config = registered.part.config.model_validate({**SIZES, "characters": characters})
    run, module = RunFolder(root), nn.Module()
    for number, name in enumerate(names):
        torch.manual_seed(seed + number)
        module = resolve("muomni_audio_encoder.recognizer:build")(config).eval()
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(4 if parameter.ndim == 2 else 1)
            nn.init.normal_(module.head.weight, std=2.0)
        write_checkpoint(run.stage("audio") / f"{name}.safetensors", {"step": 7}, {"model": model_tensors(module)})
    run.record("audio", {"status": "finished"}, part_entry(registered, config, "audio/last.safetensors"))
    return module


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``run("a.wav", "--json")`` gives the exit code, stdout and stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as raised:
            app.main(["listen", *words])
        assert isinstance(raised.value.code, int)
        return raised.value.code, *capsys.readouterr()

    return call


def sound(path: Path, seconds: int = 4, seed: int = 0, rate: int = 16000) -> Path:
    """Tones that change every fifth of a second."""
    rng = np.random.default_rng(seed)
    steps = [
        np.sin(np.arange(rate // 5) * rng.uniform(0.05, 2.0)) * 10 ** rng.uniform(-3, 0) for _ in range(5 * seconds)
    ]
    soundfile.write(path, np.concatenate(steps), rate, subtype="FLOAT")
    return path


def words_of(module: Any, path: Path, beam: int = 0) -> list[Word]:
    registered = get_registry().get("encoder", "listener")
    with FileMedia("audio", path).open() as file:
        return list(module.words(resolve(registered.part.read)(module.encoder.config, file, str(path)), beam=beam))


def test_one_file_is_one_line(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    module = make_run(here / "runs" / "ear")
    words = words_of(module, sound(here / "a.wav"))
    assert len(words) > 2
    code, out, err = run("a.wav")
    assert code == 0
    assert out == " ".join(word.text for word in words) + "\n"
    assert "listening with runs/ear/audio/last.safetensors" in err
    assert run("a.wav", "--beam", "4")[1].split() == [word.text for word in words_of(module, here / "a.wav", beam=4)]


def test_several_files_have_their_names(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    module = make_run(here / "runs" / "ear")
    sound(here / "a.wav")
    sound(here / "b.wav", seed=1)
    code, out, _ = run("b.wav", "a.wav", "a.wav")
    lines = [f"{n}: {' '.join(word.text for word in words_of(module, here / n))}" for n in ("b.wav", "a.wav", "a.wav")]
    assert (code, out.splitlines()) == (0, lines)


def test_json_has_the_times(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    words = words_of(make_run(here / "runs" / "ear"), sound(here / "a.wav"))
    (entry,) = json.loads(run("a.wav", "--json")[1])
    assert entry["file"] == "a.wav"
    assert entry["text"] == " ".join(word.text for word in words)
    assert [Word(**word) for word in entry["words"]] == words
    assert all(0 <= word.start < word.end <= 4 for word in words)


def test_subtitles_go_to_a_file(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    words = words_of(make_run(here / "runs" / "ear"), sound(here / "a.wav"))
    code, out, err = run("a.wav", "--srt", "-o", "a.srt")
    assert (code, out) == (0, "")
    assert "wrote a.srt" in err
    assert (here / "a.srt").read_text() == "".join(subtitles(words))
    assert run("a.wav", "--srt", "-o", "-")[1] == "".join(subtitles(words))


def test_a_long_file_is_streamed(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    """Longer than the encoder's own max_seconds, and than a window, at another rate."""
    make_run(here / "runs" / "ear")
    sound(here / "a.wav", seconds=50, rate=22050)
    code, out, _ = run("a.wav", "--json")
    assert code == 0
    words = json.loads(out)[0]["words"]
    assert words[-1]["end"] > 45
    assert all(one["end"] <= other["start"] for one, other in pairwise(words))
    code, out, err = run("a.wav", "--max-seconds", "49.9")
    assert (code, out) == (2, "")
    assert "a.wav holds audio of 50 s; at most 49.9 s can be read" in err
    assert "--max-seconds" in err


def test_words_are_written_as_they_are_heard() -> None:
    written: list[str] = []
    seen: list[str] = []

    def words() -> Iterator[Word]:
        for text in ("one", "two"):
            yield Word(text, 0.0, 1.0)
            seen.append("".join(written))

    write_lines([("a.wav", words())], written.append)
    assert seen == ["one", "one two"]
    assert "".join(written) == "one two\n"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("missing.wav",), "cannot read missing.wav: No such file"),
        (("a.wav", "missing.wav"), "cannot read missing.wav: No such file"),
        (("folder",), "folder is a folder"),
        (("empty.wav",), "empty.wav is empty"),
        (("text.wav",), "text.wav is not a readable audio file"),
        (("short.wav",), "short.wav is 6.25 ms long"),
        (("a.wav", "--json", "--srt"), "--json and --srt exclude each other"),
        (("a.wav", "a.wav", "--srt"), "one file at a time"),
        (("a.wav", "--device", "tpu"), "there is no device 'tpu'"),
        (("a.wav", "-m", "eer"), "there is no model 'eer'"),
        (("a.wav", "-m", "deaf"), "no trained encoder that transcribes"),
        ((), "missing argument"),
    ],
)
def test_wrong_requests(
    words: tuple[str, ...], what: str, here: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    make_run(here / "runs" / "ear")
    RunFolder(here / "runs" / "deaf").record("thinker", {"status": "finished"})
    sound(here / "a.wav", seconds=1)
    (here / "folder").mkdir()
    (here / "empty.wav").touch()
    (here / "text.wav").write_text("Once upon a time there was no sound.\n" * 20)
    soundfile.write(here / "short.wav", np.zeros(100), 16000)
    code, out, err = run(*words)
    assert code == 2
    assert out in ("", "\n")
    assert what in err
    assert "Traceback" not in err


def test_a_bad_file_leaves_no_output(here: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    make_run(here / "runs" / "ear")
    (here / "text.wav").write_text("no sound\n" * 20)
    (here / "out.txt").write_text("as it was")
    assert run("text.wav", "-o", "out.txt")[0] == 2
    assert (here / "out.txt").read_text() == "as it was"
    assert sorted(path.name for path in here.iterdir()) == ["out.txt", "runs", "text.wav"]


def source(spec: str | None = None) -> str:
    """The checkpoint that would transcribe."""
    return open_engine(spec, CAN_TRANSCRIBE, device="cpu").source("audio")


@pytest.mark.usefixtures("no_model")
def test_which_model(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="has a trained encoder that transcribes"):
        source()
    make_run(here / "runs" / "old", names=("last",))
    make_run(here / "runs" / "new", names=("last", "best"))
    (here / "runs" / "broken").mkdir()
    (here / "runs" / "broken" / "model.json").write_text("{")
    os.utime(here / "runs/old/audio/last.safetensors", (1, 1))
    assert source() == "runs/new/audio/best.safetensors"
    assert source("old") == "runs/old/audio/last.safetensors"
    assert source("runs/old") == "runs/old/audio/last.safetensors"
    assert source("runs/new/audio/last.safetensors") == "runs/new/audio/last.safetensors"
    monkeypatch.setenv("MUOMNI_MODEL", "old")
    assert source() == "runs/old/audio/last.safetensors"


def test_averaged_weights_are_used(here: Path) -> None:
    module = make_run(here / "runs" / "ear", names=("one", "last"))
    path = here / "runs/ear/audio/last.safetensors"
    tensors = model_tensors(module)
    average = {name: torch.full_like(tensor, 0.25) for name, tensor in tensors.items()}
    write_checkpoint(path, {"step": 7}, {"model": tensors, "ema": average})
    opened: Any = open_engine("ear", CAN_TRANSCRIBE, device="cpu").transcriber()
    assert not opened.training
    assert (opened.head.weight == 0.25).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.05, 4)), max_size=40))
def test_blocks_of_subtitles(gaps: list[tuple[float, float]]) -> None:
    words, now = [], 0.0
    for gap, length in gaps:
        words.append(Word("w", now + gap, now + gap + length))
        now = words[-1].end
    found = list(blocks(words))
    assert [word for block in found for word in block] == words
    for block in found:
        assert 1 <= len(block) <= MOST_WORDS
        assert len(block) == 1 or block[-1].end - block[0].start <= MOST_SECONDS
        assert all(other.start - one.end < PAUSE for one, other in pairwise(block))


def test_subtitles_are_subrip_s() -> None:
    words = [Word("good", 0.5, 0.9), Word("day", 1.0, 1.25), Word("sir", 3661.5, 3661.9996)]
    assert list(subtitles(words)) == [
        "1\n00:00:00,500 --> 00:00:01,250\ngood day\n\n",
        "2\n01:01:01,500 --> 01:01:02,000\nsir\n\n",
    ]
    assert clock(4 * 3600 + 59.9999) == "04:01:00,000"


def test_finding_a_model_imports_no_torch() -> None:
    code = "import sys, muomni_cli.models.engines, muomni_cli.inference.transcription; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_pipe_is_heard_like_the_file(
    here: Path, run: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(here / "runs" / "ear")
    content = sound(here / "a.wav").read_bytes()
    wanted = run("a.wav")[:2]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert run("-")[:2] == wanted
    code, _, err = run("-", "-")
    assert code == 2
    assert "stdin can be read once" in err
