"""``muomni tts``: what comes out, and one line for each thing that is wrong."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import soundfile

from muomni_cli.runs.run import RunFolder

MakeRun = Callable[..., RunFolder]
Tts = Callable[..., "tuple[int, bytes, str]"]


@pytest.fixture(autouse=True)
def a_run(make_run: MakeRun) -> RunFolder:
    return make_run()


def test_a_file(here: Path, tts: Tts) -> None:
    code, out, err = tts("hello there", "-o", "a.wav", "--stats")
    assert (code, out) == (0, b"")
    assert soundfile.info(here / "a.wav").frames == 2 * len("hello there") * 640
    assert "wrote a.wav: 1.8 s of speech" in err
    assert "real-time factor" in err
    assert "first audio after" in err


def test_stdout_and_raw(here: Path, tts: Tts) -> None:
    tts("hello", "-o", "a.wav")
    code, out, _ = tts("hello", "-o", "-")
    assert code == 0
    samples, rate = soundfile.read(io.BytesIO(out), dtype="int16")
    whole, _ = soundfile.read(here / "a.wav", dtype="int16")
    assert rate == 8000
    assert samples.tolist() == whole.tolist()
    assert tts("hello", "-o", "-", "--raw")[1] == out[44:]


def test_text_from_a_file_and_from_stdin(here: Path, tts: Tts, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "a.txt").write_bytes(b"\xef\xbb\xbfhello\n")
    wanted = tts("hello", "-o", "-")[1]
    assert tts("-i", "a.txt", "-o", "-")[1] == wanted
    for words in (["-i", "-"], ["-"], []):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello\n")))
        assert tts(*words, "-o", "-")[1] == wanted


def test_json(here: Path, tts: Tts) -> None:
    code, out, _ = tts("hello", "-o", "a.flac", "--json", "--voice", "bob", "--seed", "4", "--temperature", "1")
    report = json.loads(out)
    assert code == 0
    assert report["file"] == "a.flac"
    assert report["frames"] == 10
    assert report["seconds"] == 0.8
    assert report["sample_rate"] == 8000
    assert (report["voice"], report["seed"], report["vocoder"], report["cut"]) == ("bob", 4, "ready", False)
    assert report["real_time_factor"] > 0
    assert report["first_audio_ms"] > 0
    assert (here / "a.flac").is_file()


def test_a_talker_without_times_has_no_subtitles(here: Path, tts: Tts) -> None:
    code, out, err = tts("hello", "-o", "a.wav", "--srt", "a.srt", "--json")
    assert (code, out) == (2, b"")
    assert "does not know the times of its words" in err
    assert "leave out --srt" in err
    assert sorted(path.name for path in here.iterdir()) == ["runs"]
    assert json.loads(tts("hello", "-o", "a.wav", "--json")[1])["words"] == []


def test_a_long_text_is_cut_with_a_word(here: Path, tts: Tts) -> None:
    (here / "long.txt").write_text("word " * 20_000)
    code, _, err = tts("-i", "long.txt", "-o", "a.wav", "--max-seconds", "2")
    assert code == 0
    assert "truncated after 2 seconds" in err
    assert "--max-seconds" in err
    assert soundfile.info(here / "a.wav").frames == 16_000


@pytest.mark.parametrize(
    ("words", "wrong", "fix"),
    [
        (["", "-o", "a.wav"], "the text is empty", "muomni tts"),
        (["  \n", "-o", "a.wav"], "the text is empty", "muomni tts"),
        (["😀👍", "-o", "a.wav"], "nothing in the text can be spoken", "Latin"),
        (["\x07\x1b\x00", "-o", "a.wav"], "nothing in the text can be spoken", "Latin"),
        (["hello"], "no audio output", "-o"),
        (["hello", "-o", "a.xyz"], "unsupported audio format", ".wav"),
        (["hello", "-o", "."], "is a folder", "name a file"),
        (["hello", "-o", "a.wav", "--voice", "carl"], "no voice 'carl'", "ann, bob"),
        (["hello", "-o", "a.wav", "--speed", "3"], "speed is 3", "from 0.5 to 2"),
        (["hello", "-o", "a.wav", "--temperature", "-1"], "temperature", "0 or more"),
        (["hello", "-o", "a.wav", "--max-seconds", "0"], "max_seconds", "more than 0"),
        (["hello", "-o", "a.wav", "-m", "nobody"], "no model 'nobody'", "tiny"),
        (["hello", "-o", "a.wav", "--vocoder", "ready2"], "ready2", "ready"),
        (["hello", "-o", "a.wav", "--vocoder", "learned"], "not trained", "--vocoder ready"),
        (["hello", "-o", "-", "--json"], "both write to stdout", "-o out.wav"),
        (["hello", "-o", "a.wav", "--srt", "-"], "--srt needs a file", "--srt out.srt"),
        (["hello", "-o", "a.wav", "--srt", "runs"], "runs is a folder", "runs/out.srt"),
        (["hello", "-o", "a.wav", "--srt", "a.wav"], "the file of the audio", "--srt out.srt"),
        (["hello", "-i", "a.txt", "-o", "a.wav"], "both a text and a file", "one of them"),
        (["-i", "missing.txt", "-o", "a.wav"], "cannot read missing.txt", "check the path"),
        (["hello", "-o", "a.wav", "--device", "tpu"], "tpu", "device"),
    ],
)
def test_what_is_wrong_is_said_in_two_lines(here: Path, tts: Tts, words: list[str], wrong: str, fix: str) -> None:
    code, out, err = tts(*words)
    lines = [line for line in err.splitlines() if not line.startswith("speaking with")]
    assert code == 2
    assert out == b""
    assert len(lines) == 2, err
    assert wrong in lines[0]
    assert fix in lines[1]
    assert sorted(path.name for path in here.iterdir()) == ["runs"]


def test_a_path_that_cannot_be_written(here: Path, tts: Tts) -> None:
    (here / "file").touch()
    code, _, err = tts("hello", "-o", "file/a.wav")
    assert code == 1
    assert "could not write file/a.wav" in err


def test_a_model_without_a_talker(make_run: MakeRun, tts: Tts) -> None:
    make_run("mute", without=("talker",))
    code, _, err = tts("hello", "-o", "a.wav", "-m", "mute")
    assert code == 2
    assert "no trained talker" in err
    assert "muomni train talker" in err


def test_a_reader_that_goes_away(tts: Tts, monkeypatch: pytest.MonkeyPatch) -> None:
    """``muomni tts ... -o - | head -c 0`` ends without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as stdout:  # closing tries once more
        monkeypatch.setattr(sys, "stdout", stdout)
        code, _, err = tts("hello", "-o", "-")
    assert code == 1
    assert err.startswith("speaking with")
    assert len(err.splitlines()) == 1


def test_a_text_may_begin_with_a_dash(here: Path, tts: Tts) -> None:
    code, _, err = tts("-5 degrees", "-o", "a.wav")
    assert code == 0, err
    assert (here / "a.wav").is_file()
    code, _, err = tts("--sped", "2", "hello", "-o", "b.wav")
    assert code == 2
    assert "no such option: --sped (Possible options: --s" in err
    assert not (here / "b.wav").exists()


@pytest.mark.parametrize("content", [b"\x7fELF\0\0\0", bytes(range(128, 256))])
def test_what_is_no_text_is_refused(here: Path, tts: Tts, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "a.bin").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    for name, words in (("a.bin", ["-i", "a.bin"]), ("stdin", ["-"])):
        code, _, err = tts(*words, "-o", "a.wav")
        assert code == 2
        assert f"error: {name} is not a text file" in err
        assert not (here / "a.wav").exists()


def test_what_a_talker_leaves_out_is_told(tts: Tts) -> None:
    from muomni_cli.voice.synthesis import SpeechStats

    speech = SpeechStats(8000)
    speech.report.skipped.update(dict.fromkeys([f"x{n}" for n in range(20)] + ["y" * 200]))
    speech.report.cut = True
    first, second = speech.losses
    assert first.startswith("left out, because it cannot be spoken: 'x0', 'x1'")
    assert first.endswith("and 13 more")
    assert "cut short" in second
    assert speech.cut
    code, out, err = tts("hello", "-o", "a.wav", "--json")
    assert (code, json.loads(out)["skipped"]) == (0, [])
    assert "left out" not in err
