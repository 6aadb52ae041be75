"""Samples in files and pipes: whole or not at all."""

from __future__ import annotations

import io
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from muomni_cli.api import MelConfig, MuomniError, RequestError
from muomni_cli.audio.io import read
from muomni_cli.voice.audio_out import (
    PLAYERS,
    AudioOutput,
    as_bytes,
    as_integers,
    check_output,
    find_player,
    known_suffixes,
    playing,
    streamed,
    writing,
)

WAVE = np.sin(np.arange(4000) / 9).astype(np.float32) * 0.7


class Reading(MelConfig):
    """What a file is read into."""

    max_seconds: float = 10.0
    shortest: int = 1


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", known_suffixes())
def test_files_hold_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with writing(path, 16000) as write:
        write(WAVE[:1000])
        write(WAVE[1000:])
        assert not path.exists()
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    assert listing(tmp_path) == [path.name]
    if suffix in (".wav", ".flac"):
        np.testing.assert_allclose(samples, WAVE, atol=1.5 / 32768)
    else:
        assert abs(samples.size - WAVE.size) < 2500


def test_a_stream_is_a_wav_of_open_length() -> None:
    out = io.BytesIO()
    write = streamed(out, 16000, raw=False)
    write(WAVE[:10])
    write(WAVE[10:])
    out.seek(0)
    np.testing.assert_allclose(read(Reading(), out, "stream"), WAVE, atol=1.5 / 32768)
    bare = io.BytesIO()
    streamed(bare, 16000, raw=True)(WAVE)
    assert bare.getvalue() == as_bytes(WAVE) == out.getvalue()[44:]


def test_raw_files(tmp_path: Path) -> None:
    with writing(tmp_path / "a.pcm", 16000, raw=True) as write:
        write(WAVE)
    assert (tmp_path / "a.pcm").read_bytes() == as_integers(WAVE).astype("<i2").tobytes()


def test_full_scale_is_kept() -> None:
    assert as_integers(np.array([-2, -1, 0, 1, 2], np.float32)).tolist() == [-32767, -32767, 0, 32767, 32767]


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"before")

    def fail() -> None:
        with writing(path, 16000) as write:
            write(WAVE)
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert path.read_bytes() == b"before"
    assert listing(tmp_path) == ["a.wav"]


def test_a_full_disk(tmp_path: Path) -> None:
    """No file may grow beyond 4 kB in the process, which fails as a full disk does."""
    code = """
import numpy as np
from pathlib import Path
from muomni_cli.api import MuomniError
from muomni_cli.voice.audio_out import writing
noise = np.random.default_rng(0).uniform(-1, 1, 160000).astype(np.float32)
for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.pcm"):
    try:
        with writing(Path(name), 16000, raw=name == "a.pcm") as write:
            for piece in np.split(noise, 100):
                write(piece)
    except MuomniError as error:
        print(error.what)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    names = ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.pcm")
    assert done.stdout == "".join(f"could not write {name}: File too large\n" for name in names)
    assert done.stderr == ""
    assert listing(tmp_path) == []


def test_devices_are_not_replaced() -> None:
    with writing(Path("/dev/null"), 16000) as write:
        write(WAVE)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unsupported audio format") as caught:
        check_output(tmp_path / "a.aiff", raw=False)
    assert ".wav" in caught.value.fix
    check_output(tmp_path / "a.aiff", raw=True)
    with pytest.raises(RequestError, match="is a folder"):
        check_output(tmp_path, raw=False)
    with pytest.raises(RequestError, match="no audio output"):
        AudioOutput()
    (tmp_path / "file").touch()
    with pytest.raises(MuomniError, match="could not write"), writing(tmp_path / "file" / "a.wav", 16000):
        pass


def test_players(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="no audio player") as caught:
        find_player()
    assert "aplay" in caught.value.fix
    player = tmp_path / "paplay"
    player.write_text(f"#!{sys.executable}\nimport sys\nopen('heard', 'wb').write(sys.stdin.buffer.read())\n")
    player.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    assert find_player() == "paplay"
    with AudioOutput(tmp_path / "a.wav", play=True).open(16000) as write:
        write(WAVE)
        write(WAVE)
    assert (tmp_path / "heard").read_bytes() == as_bytes(WAVE) * 2
    assert soundfile.info(tmp_path / "a.wav").frames == 8000
    assert all("16000" in " ".join(command(16000)) for command in PLAYERS.values())


def test_a_player_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = tmp_path / "aplay"
    player.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no such device')\n")
    player.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    def play() -> None:
        with playing("aplay", 16000) as write:
            for _ in range(1000):
                write(WAVE)

    with pytest.raises(MuomniError, match="no such device"):
        play()
