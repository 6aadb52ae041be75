"""What is typed before anything is parsed: other words for commands, help, and texts that begin with a dash."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from muomni_cli import __version__, app
from muomni_cli.commands import cli
from muomni_cli.core.console import OTHER_WORDS, meant_command, translated, with_dashed_text, with_default_page
from muomni_cli.registry.registry import get_registry

OPTIONS: list[Any] = [
    SimpleNamespace(opts=["text"], secondary_opts=[], is_flag=False),
    SimpleNamespace(opts=["-o", "--output"], secondary_opts=[], is_flag=False),
    SimpleNamespace(opts=["--loop"], secondary_opts=["--no-loop"], is_flag=True),
]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as raised:
        app.main(words)
    return int(raised.value.code or 0), *capsys.readouterr()


def test_version_and_help_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["version"], ["-V"], ["--version"]):
        assert run(capsys, *words) == (0, f"muomni {__version__}\n", "")
    assert run(capsys, "help") == run(capsys, "--help")
    assert run(capsys, "help", "train") == run(capsys, "train", "--help")
    assert run(capsys, "help", "runs", "list") == run(capsys, "runs", "list", "--help")
    assert translated(["help", "me"], {"help"}) == ["help", "me"]  # a plugin's own


@pytest.mark.parametrize(
    ("words", "model_ref"),
    [
        ("transcribe y.wav", "muomni listen"),
        ("speak hello", "muomni tts"),
        ("speek hello", "muomni tts"),
        ("say hello", "muomni tts"),
        ("ls", "muomni runs list"),
        ("tarin", "muomni train"),
        ("runs lst", "muomni runs list"),
    ],
)
def test_an_unknown_command_gets_the_nearest(words: str, model_ref: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words.split())
    assert (code, out) == (2, "")
    what, fix = err.splitlines()
    assert what.startswith("error: no such command '")
    assert fix.startswith(f"  fix: did you mean: {model_ref}? see muomni")


def test_what_is_near_to_nothing_gets_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "qqq")
    assert "one of: train, chat, listen, tts" in err


def test_every_other_word_names_a_command_and_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    import typer

    root: Any = typer.main.get_command(cli.build_cli(get_registry().plugins))
    capsys.readouterr()
    assert not OTHER_WORDS.keys() & root.commands.keys()
    for word, name in OTHER_WORDS.items():
        if name != "data get":  # may be there or not
            assert name.partition(" ")[0] in root.commands, word
            assert meant_command(word, list(root.commands)) == name


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["-5°C"], ["--", "-5°C"]),
        (["-5 + 3?", "-o", "x"], ["-o", "x", "--", "-5 + 3?"]),
        (["--loop", "- and so on"], ["--loop", "--", "- and so on"]),
        (["-a word"], ["--", "-a word"]),
        (["-o", "-5"], ["-o", "-5"]),
        (["-"], ["-"]),
        (["--bogus", "hi"], ["--bogus", "hi"]),
        (["-x"], ["-x"]),
        (["-ofile name"], ["-ofile name"]),
        (["--output=my file"], ["--output=my file"]),
        (["--", "-5"], ["--", "-5"]),
    ],
)
def test_texts_that_begin_with_a_dash(words: list[str], parsed: list[str]) -> None:
    assert with_dashed_text(words, OPTIONS) == parsed


def test_plugins_info_of_a_public_dataset(capsys: pytest.CaptureFixture[str]) -> None:
    """And of the source of the same name that reads it."""
    code, out, _ = run(capsys, "plugins", "info", "ljspeech")
    assert code == 0
    assert "download ljspeech" in out
    assert "get it: muomni data get " in out
    assert "dataset ljspeech" in out


def test_plugins_info_of_a_name_that_cards_have_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "plugins", "info", "text")
    assert code == 0
    assert "dataset text" in out
    assert "stages: " in out


def test_listed_kinds_are_counted_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "plugins", "list")[1]
    assert "cardss" not in out
    assert "3 tokenizers" in out


@pytest.mark.parametrize(
    ("words", "parsed"),
    [
        (["hi", "--html"], ["hi", "--html", "trace.html"]),
        (["--html", "hi there", "--json"], ["--html", "trace.html", "hi there", "--json"]),
        (["--html", "a/B.HTML", "hi"], ["--html", "a/B.HTML", "hi"]),
        (["--html=x", "hi"], ["--html=x", "hi"]),
        (["hi", "--", "--html"], ["hi", "--", "--html"]),
        (["hi"], ["hi"]),
    ],
)
def test_a_page_needs_no_name(words: list[str], parsed: list[str]) -> None:
    assert with_default_page(words) == parsed
