"""Console output: results on stdout, everything else on stderr."""

from __future__ import annotations

import functools
import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@functools.cache
def stderr_console() -> Console:
    """The rich console on stderr, for progress and live displays."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def tolerate_encoding() -> None:
    """Show characters that the streams' encoding lacks as ``\\xe9`` or ``\\u65e5`` instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Print a line to stderr, if it is open."""
    if sys.stderr is not None:  # print() would take None as stdout
        print(line, file=sys.stderr, flush=True)


def print_error(what: str, fix: str = "") -> None:
    """Print the two lines of an error: problem and fix."""
    say(f"error: {what}")
    if fix:
        say(f"  fix: {fix}")


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
