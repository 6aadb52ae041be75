"""``muomni data record``: a script is read into the layout of LJSpeech, by a device with a clock of its own."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from muomni_cli.audio.devices import BLOCK
from muomni_cli.commands.cli import build_cli
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import get_registry
from muomni_cli.voice.recording import LONGEST, ScriptFolder, Take, Wave, record_clip, script_lines

RATE = 48_000
SIZE = round(BLOCK * RATE)


def spoken(seconds: float, level: float = 0.2) -> Wave:
    """A tone."""
    return (level * np.sin(np.arange(round(seconds * RATE)) * 0.05)).astype(np.float32)


def still(seconds: float) -> Wave:
    return np.random.default_rng(0).normal(0, 1e-4, round(seconds * RATE)).astype(np.float32)


class Reader:
    """A microphone before somebody who says ``takes``, one after the other, and then nothing any more."""

    rate = RATE

    def __init__(self, *takes: Wave) -> None:
        self.takes = list(takes)

    def blocks(self) -> Iterator[Wave]:
        take = self.takes.pop(0) if self.takes else still(1)
        for at in range(0, take.size - SIZE + 1, SIZE):
            yield take[at : at + SIZE]
        while True:
            yield still(BLOCK)


def test_a_recording_ends_after_silence_and_is_trimmed() -> None:
    take = np.concatenate([still(0.8), spoken(0.5), still(0.4), spoken(0.6), still(3)])
    levels: list[float] = []
    clip = record_clip(Reader(take), 0.7, levels.append)
    assert clip.ended
    assert not clip.problem
    assert clip.seconds == pytest.approx(0.25 + 1.5 + 0.35, abs=0.05)  # the pause inside is kept
    assert len(levels) * BLOCK == pytest.approx(0.8 + 1.5 + 0.7, abs=0.05)
    assert max(levels) == pytest.approx(20 * np.log10(0.2 / np.sqrt(2)), abs=0.5)


@pytest.mark.parametrize(
    ("take", "problem"),
    [
        (spoken(2, 2.0).clip(-1, 1), "too loud"),
        (spoken(2, 0.008), "too quiet"),
        (spoken(LONGEST + 1), "longer than 30"),
        (still(1), "nothing was said"),
    ],
    ids=["loud", "quiet", "long", "silent"],
)
def test_what_is_wrong_with_a_recording_is_said(take: Wave, problem: str) -> None:
    clip = record_clip(Reader(np.concatenate([still(0.5), take])), 0.5, lambda _: None)
    assert problem in clip.problem


class Card:
    """A sound card whose thread calls back 200 times as fast as the clock, with what ``said`` gives next."""

    said: list[Wave]

    def __init__(self, samplerate: int, blocksize: int, callback: Any, **_: Any) -> None:
        self.samplerate, self._size, self._callback = float(samplerate), blocksize, callback
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ends.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ends.is_set():
            take = self.said.pop(0) if self.said else still(1)
            for at in range(0, take.size - self._size + 1, self._size):
                self._callback(take[at : at + self._size, None], self._size, None, None)
                time.sleep(BLOCK / 200)


def record(folder: Path, answers: str) -> Any:
    words = ["data", "record", "script.txt", "-o", str(folder), "--silence", "0.4"]
    return CliRunner().invoke(build_cli(get_registry().plugins), words, input=answers)


def test_a_script_is_recorded_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    talking = [np.concatenate([still(0.6), spoken(0.9), still(0.9)]) for _ in range(200)]
    card = SimpleNamespace(InputStream=type("Talking", (Card,), {"said": talking}), PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    Path("script.txt").write_text("One hen.\n\nTwo | hens.\nOne hen.\nThree hens.\n")
    done = record(Path("mine"), "\n\n" + "\nr\n\n" + "q\n")  # the second one twice
    assert done.exit_code == 0, done.output
    assert Path("mine/metadata.csv").read_text() == "0001|One hen.|One hen.\n0002|Two hens.|Two hens.\n"
    done = record(Path("mine"), "\n\n")
    assert "1 of 1: Three hens." in done.output
    assert "mine has 3 of 3" in done.output
    samples, rate = soundfile.read("mine/wavs/0003.wav")
    assert rate == RATE
    assert 0.5 < samples.size / rate < 2
    assert {path.name for path in Path("mine").rglob("*") if path.is_file()} == {
        "metadata.csv", "0001.wav", "0002.wav", "0003.wav",
    }  # fmt: skip


def test_what_a_list_holds_besides_is_kept(tmp_path: Path) -> None:
    (tmp_path / "wavs").mkdir()
    (tmp_path / "wavs" / "0001.wav").touch()
    (tmp_path / "metadata.csv").write_text("0001|On May 5|On May fifth\n0007|Gone.|Gone.\na comment\n")
    folder = ScriptFolder.open(tmp_path)
    assert folder.texts == {"0001": "On May 5"}
    folder.add("New.", Take(spoken(1), RATE, ended=True))
    lines = ["0001|On May 5|On May fifth", "0007|Gone.|Gone.", "a comment", "0008|New.|New."]
    assert (tmp_path / "metadata.csv").read_text().splitlines() == lines
    assert ScriptFolder.open(tmp_path) == folder
    (tmp_path / "metadata.csv").write_bytes(b"0001|caf\xe9|cafe\n")
    with pytest.raises(RequestError, match="line 1 is not UTF-8"):
        ScriptFolder.open(tmp_path)


def test_an_unknown_answer_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    take = np.concatenate([still(0.6), spoken(0.9, 0.008), still(0.9)])  # too quiet
    card = SimpleNamespace(InputStream=type("Soft", (Card,), {"said": [take] * 50}), PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    Path("script.txt").write_text("One hen.\n")
    done = record(Path("mine"), "\n" + "keep\nk\n")
    assert "there is no answer keep" in done.output
    assert Path("mine/metadata.csv").read_text() == "0001|One hen.|One hen.\n"


def test_the_end_of_the_input_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    card = SimpleNamespace(InputStream=type("Still", (Card,), {"said": []}), PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    Path("script.txt").write_text("One hen.\n")
    done = record(Path("mine"), "")
    assert done.exit_code == 0, done.output
    assert not Path("mine").exists()


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "script.txt").write_text("\n \n")
    with pytest.raises(RequestError, match="has no line to read"):
        script_lines(tmp_path / "script.txt")
    with pytest.raises(RequestError, match="is a file, not a folder"):
        ScriptFolder.open(tmp_path / "script.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    Path("script.txt").write_text("One hen.\n")
    done = record(Path("mine"), "\n")
    assert done.exit_code == 1
    assert "muomni data record needs the package sounddevice" in str(done.exception)
