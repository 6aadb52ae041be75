"""Errors become exit codes and two lines; nothing else of them is seen without --debug."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import typer

from muomni_cli import app
from muomni_cli.commands import cli as program
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError, __version__


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as raised:
        app.main(words)
    assert isinstance(raised.value.code, int)
    return raised.value.code


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """``failing(error)`` makes every command raise it."""

    def arrange(error: BaseException) -> None:
        def command() -> None:
            raise error

        cli = typer.Typer()
        cli.callback()(lambda: None)
        cli.command("fail")(command)
        monkeypatch.setattr(program, "build_cli", lambda *_: cli)

    return arrange


def test_help_and_version_are_the_product(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--help",), ("-h",)):
        assert run(*words) == 0
        out, err = capsys.readouterr()
        assert "plugins" in out
        assert err == ""
    assert run("--version") == 0
    assert capsys.readouterr().out == f"muomni {__version__}\n"


@pytest.mark.parametrize("words", [("chat", "--help"), ("bench", "start", "--help"), ("models", "--help")])
def test_a_command_built_alone_is_the_one_among_all(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    built: list[int] = []
    keep = program._keep_called

    def keep_and_count(cli: typer.Typer, called: Sequence[str]) -> None:
        keep(cli, called)
        built.append(len(cli.registered_commands) + len(cli.registered_groups))

    monkeypatch.setattr(program, "_keep_called", keep_and_count)
    assert run(*words) == 0
    alone = capsys.readouterr().out
    monkeypatch.setattr(program, "_keep_called", lambda *_: None)
    assert run(*words) == 0
    assert capsys.readouterr().out == alone
    assert built == [1]


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (MuomniError("it broke", "mend it"), 1, ["error: it broke", "  fix: mend it"]),
        (MuomniError("it broke"), 1, ["error: it broke"]),
        (RequestError("no such thing", "name another"), 2, ["error: no such thing", "  fix: name another"]),
        (KeyboardInterrupt(), 130, []),
        (typer.Exit(3), 3, []),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1, []),
        (
            ValueError("odd"),
            1,
            [
                "error: a bug of muomni: ValueError: odd",
                "  fix: run it again with --debug, and report what that prints",
            ],
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a.toml"),
            1,
            ["error: permission denied: a.toml", "  fix: change its permissions, or name another path"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_errors_become_lines_and_codes(
    error: BaseException,
    code: int,
    lines: list[str],
    failing: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(error)
    assert run("fail") == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == lines


@pytest.mark.parametrize("words", [("--debug", "fail"), ("fail", "--debug")])
def test_debug_shows_the_traceback(
    words: tuple[str, ...], failing: Callable[[BaseException], None], capsys: pytest.CaptureFixture[str]
) -> None:
    failing(ValueError("odd"))
    assert run(*words) == 1
    assert "Traceback" in capsys.readouterr().err


def test_debug_after_two_dashes_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plugins", "info", "--", "--debug") == 2
    err = capsys.readouterr().err
    assert "'--debug'" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plgins",), "no such command 'plgins'"),
        (("plugins", "list", "--jsn"), "no such option: --jsn"),
        (("plugins", "info"), "missing argument 'NAME'"),
        (("plugins",), "Usage: muomni plugins"),
    ],
)
def test_wrong_words_exit_2(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once() -> None:
    command = [sys.executable, "-m", "muomni_cli", "plugins", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: no space left on device"
    assert len(done.stderr.splitlines()) == 2


def test_a_reader_that_left_is_no_error() -> None:
    command = [sys.executable, "-m", "muomni_cli", "plugins", "list", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert said == b""


def test_what_a_stream_cannot_carry_is_escaped(tmp_path: Path) -> None:
    code = (
        "from muomni_cli.core.console import tolerate_encoding, print_json, say; tolerate_encoding();"
        "print('\\xe9'); say('\\u65e5'); print_json('\\xe9')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ('\\xe9\n"\\u00e9"\n', "\\u65e5\n")


def test_talk_never_reaches_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stderr", None)
    say("nobody hears this")
    assert capsys.readouterr().out == ""
