"""Files named on the command line: URLs are refused by name, pipes are read up to a limit."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from muomni_cli import app
from muomni_cli.api import FileMedia, RequestError
from muomni_cli.data import media as media_arguments
from muomni_cli.data.media import media_at, refuse_url, require_one_stdin
from muomni_cli.inference.media_input import media_of


def stdin_of(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("url", ["https://example.org/x.png", "http://x", "FTP://x/y.wav", "file:///x.png", "https:/x"])
def test_urls_are_not_fetched(url: str) -> None:
    for refuse in (refuse_url, lambda word: media_at("image", word), lambda word: media_of("image", word)):
        with pytest.raises(RequestError, match="URLs are not fetched") as raised:
            refuse(url)
        assert "download it first" in raised.value.fix


@pytest.mark.parametrize("word", ["x.png", "C:/x.png", "a b:c.png", "./http"])
def test_paths_are_no_urls(word: str) -> None:
    assert media_at("image", word) == FileMedia("image", Path(word))


@pytest.mark.parametrize(
    "words",
    [
        ["chat", "--image", "https://e.org/x.png", "hi"],
        ["chat", "--audio", "https://e.org/y.wav", "hi"],
        ["chat", "--attach", "image=https://e.org/x.png", "hi"],
        ["trace", "--image", "https://e.org/x.png", "hi"],
        ["listen", "https://e.org/y.wav"],
    ],
)
def test_commands_refuse_urls_before_they_open_a_model(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        app.main(words)
    assert raised.value.code == 2
    what, fix = capsys.readouterr().err.splitlines()
    assert what.startswith("error: URLs are not fetched: https://e.org/")
    assert fix == "  fix: download it first, then name the file"


def test_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_of(monkeypatch, b"content")
    media = media_at("audio", "-")
    assert [media.open().read() for _ in range(2)] == [b"content"] * 2
    assert media.name == "stdin"
    require_one_stdin(["audio=-", "image=x.png"])
    with pytest.raises(RequestError, match="read once"):
        require_one_stdin(["audio=-", "image=-"])


def test_an_empty_or_endless_pipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_arguments, "MOST_BYTES", 4)
    for content, what in ((b"", "stdin is empty"), (b"12345", "stdin holds more than")):
        stdin_of(monkeypatch, content)
        with pytest.raises(RequestError, match=what):
            media_at("audio", "-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(RequestError, match="nothing on stdin"):
        media_at("audio", "-")


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="needs /dev/fd")
def test_a_pipe_of_a_shell_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"content")
        os.close(writing)
        media = media_at("audio", f"/dev/fd/{reading}")
        assert [media.open().read() for _ in range(2)] == [b"content"] * 2
    finally:
        os.close(reading)


def test_the_prompt_and_a_sound_cannot_both_be_stdin(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app.main(["chat", "--audio", "-", "-"])
    assert "both read stdin" in capsys.readouterr().err
