"""The terminal: what is printed to it and how, and the words of a command line before Typer reads them."""

from __future__ import annotations

import difflib
import functools
import io
import json
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

TEXT_COMMANDS = frozenset({"chat", "tts", "trace"})  # commands whose first argument is a text

OTHER_WORDS = {  # synonym from other programs -> our command
    word: command
    for command, words in {
        "listen": "transcribe recognize asr stt hear",
        "tts": "speak say synthesize",
        "chat": "ask run generate",
        "eval": "evaluate test score",
        "train": "fit finetune",
        "export": "convert",
        "data get": "download",
        "runs list": "ls list",
        "runs show": "show",
        "plugins": "plugin",
        "recipes": "recipe",
        "models": "model",
        "doctor": "info",
    }.items()
    for word in words.split()
}


@functools.cache
def silence_pillow() -> None:
    """Let Pillow, and its copy of libtiff, report the damage of a picture without printing to stderr as well, in all
    threads. Pillow without a shared libtiff goes on to print what libtiff says."""
    import ctypes
    import logging

    from PIL import _imaging

    logging.getLogger("PIL").addHandler(logging.NullHandler())  # messages without a handler are printed to stderr
    with suppress(AttributeError, OSError):
        ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@functools.cache
def stderr_console() -> Console:
    """The rich console on stderr, for progress and live displays."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, quiet=_State.muted)


def tolerate_encoding() -> None:
    """Show characters that the streams' encoding lacks as ``\\xe9`` or ``\\u65e5`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _State:
    """Of this process."""

    muted = False


def mute() -> None:
    """From now on this process reports nothing but errors: another one, which does the same work, speaks for both."""
    _State.muted = True


def say(line: str) -> None:
    """Print a line to stderr, if it is open."""
    if not _State.muted:
        _print(line)


def print_error(what: str, fix: str = "") -> None:
    """Print the two lines of an error: problem and fix."""
    _print(f"error: {what}")
    if fix:
        _print(f"  fix: {fix}")


def _print(line: str) -> None:
    if sys.stderr is not None:  # print() would take None as stdout
        print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Print ``value`` as JSON on stdout; ASCII only if stdout is not UTF."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print(json.dumps(value, indent=2, ensure_ascii=not unicode))


def terminal_safe(text: str) -> str:
    """``text`` without control characters other than newline and tab, which could control the terminal."""
    return "".join(c for c in text if c in "\n\t" or not (c < " " or "\x7f" <= c < "\xa0"))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print an aligned plain-text table on stdout, never cut to the terminal's width."""
    lines = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def size(count: float) -> str:
    """Human-readable bytes: ``1.5 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def duration(seconds: float) -> str:
    """Human-readable seconds: ``0:42``, ``3:05:10``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def translated(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """``words`` with ``version`` and ``help [COMMAND...]`` as options, unless a plugin has commands of these names."""
    first, rest = next(iter(words), ""), list(words[1:])
    if first == "version" and first not in commands:
        return ["--version", *rest]
    if first == "help" and first not in commands:
        return [*rest, "--help"]
    return list(words)


def meant_command(word: str, commands: Sequence[str]) -> str | None:
    """The command that an unknown ``word`` most likely means, if any."""
    others = {other: name for other, name in OTHER_WORDS.items() if name.partition(" ")[0] in commands}
    names = {name: name for name in commands} | {o: name for o, name in others.items() if o not in commands}
    if word.lower() in names:
        return names[word.lower()]
    near = difflib.get_close_matches(word.lower(), list(names), n=1, cutoff=0.45)
    return names[near[0]] if near else None


def with_dashed_text(words: Sequence[str], options: Sequence[Any]) -> list[str]:
    """Move a text argument that begins with a dash, as in ``tts "-5°C"`` or ``chat "-5 + 3?"``, to the end, behind
    ``--``. ``words``: those after the command's name; ``options``: the command's parameters."""
    known: set[str] = set()
    valued: set[str] = set()  # options that take the next word as their value
    for option in options:
        names = {name for name in (*option.opts, *option.secondary_opts) if name.startswith("-")}
        known |= names
        if not getattr(option, "is_flag", False):
            valued |= names
    place = 0
    while place < len(words) and words[place] != "--":
        word = words[place]
        if _is_text(word, known):
            rest = [*words[:place], *words[place + 1 :]]
            return [*rest, word] if "--" in rest else [*rest, "--", word]
        place += 2 if word in valued else 1
    return list(words)


def with_default_page(words: Sequence[str], default: str = "trace.html") -> list[str]:
    """Insert ``default`` after ``--html`` unless a name of an HTML file follows, so that ``trace --html "What do you
    see?"`` asks a question."""
    found: list[str] = []
    for place, word in enumerate(words):
        found.append(word)
        if word == "--":
            return [*found, *words[place + 1 :]]
        if word == "--html" and not "".join(words[place + 1 : place + 2]).lower().endswith((".html", ".htm")):
            found.append(default)
    return found


def _is_text(word: str, known: Collection[str]) -> bool:
    """A dash followed by something that no option begins with, or by several words."""
    if len(word) < 2 or word[0] != "-" or word[:2] in known:
        return False
    if word[1] != "-" and not (word[1].isascii() and word[1].isalpha()):
        return True
    return " " in word.partition("=")[0]
