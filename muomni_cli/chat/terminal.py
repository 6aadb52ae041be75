"""Lines in and answers out at a terminal, with editing and a history that lasts. Knows no conversation."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from muomni_cli.core.console import say, terminal_safe
from muomni_cli.core.paths import config_folder

HISTORY_LINES = 1000


def write_answer(text: str) -> None:
    """A piece of an answer to stdout, at once; to a terminal without control characters that a model may make."""
    shown = terminal_safe(text) if sys.stdout is not None and sys.stdout.isatty() else text
    print(shown, end="", flush=True)


def read_line(prompt: str) -> str:
    """A line from the terminal, with ``prompt`` on stderr when stdout is not the terminal.

    Raises:
        EOFError: Ctrl-D.
    """
    if sys.stdout is not None and sys.stdout.isatty():
        return as_unicode(input(prompt))
    if sys.stderr is not None:
        print(prompt, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return as_unicode(line.removesuffix("\n"))


@contextmanager
def history() -> Iterator[None]:
    """Line editing with the lines of earlier sessions, where the system has readline; saved at the end.

    A history that cannot be read or written costs a line of talk, never the session.
    """
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    path = config_folder() / "chat_history"
    readline.set_history_length(HISTORY_LINES)
    try:
        if path.is_file():
            readline.read_history_file(path)
    except OSError as error:
        say(f"no history from earlier sessions: {path}: {error.strerror or error}")
    try:
        yield
    finally:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
        except OSError as error:
            say(f"the history is not kept: {path}: {error.strerror or error}")


def read_prompt(argument: str | None) -> str | None:
    """The prompt: ``argument``, or stdin for ``-`` and for a pipe; None asks for a session."""
    if argument is not None and argument != "-":
        return as_unicode(argument)
    if sys.stdin is None:
        return ""
    if argument is None and sys.stdin.isatty():
        return None
    return sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\r\n")


def as_unicode(text: str) -> str:
    """``text`` with U+FFFD in place of bytes that are not UTF-8, which the system passes on as lone surrogates."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
