"""`muomni samples`: files to try the first commands with, and commands that work on them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from muomni_cli.app import main
from muomni_nano import SAMPLES, TRY


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0)


def test_samples_are_written_once_and_nothing_else_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("samples") == 0
    assert capsys.readouterr().out.splitlines() == list(TRY)
    assert {"x.png", "y.wav", "samples"} == {path.name for path in tmp_path.iterdir()}
    assert run("samples") == 0
    (tmp_path / "x.png").write_text("mine")
    assert run("samples") == 2
    assert "x.png already exists" in capsys.readouterr().err
    assert (tmp_path / "x.png").read_text() == "mine"
    assert run("samples", "--force") == 0
    assert (tmp_path / "x.png").read_bytes() == (SAMPLES / "x.png").read_bytes()
    assert run("samples", "-o", "other") == 0
    assert (tmp_path / "other" / "y.wav").is_file()
    assert run("samples", "-o", "x.png") == 2


def test_they_are_small_and_all_are_described() -> None:
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 300_000
    told = (SAMPLES / "samples" / "README.txt").read_text()
    assert all(path.name in told for path in files if path.name != "README.txt")


def test_the_commands_that_it_prints_do_what_the_samples_say(tmp_path: Path) -> None:
    said = []
    for line in ("muomni samples", "muomni chat --image x.png --audio y.wav", *TRY):
        words = [sys.executable, "-m", "muomni_cli", *shlex.split(line)[1:]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said.append(done.stdout.strip())
    assert said[1] == said[2] == "A big purple triangle is left of a blue star. I hear seven."
    assert said[3] == "stop"
    assert (tmp_path / "out.wav").stat().st_size > 10_000
    told = (SAMPLES / "samples" / "README.txt").read_text()
    assert re.search(r'y.wav +"seven"', told)
