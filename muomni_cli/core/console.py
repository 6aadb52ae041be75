"""How muomni speaks: the product on stdout, everything else on stderr.

Knows streams and layout; what is said is for the caller.
"""

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
    """Let both streams show what their encoding cannot carry as ``\\xe9`` or ``\\u65e5``, rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """One line of talk, as it is. Nobody hears it where stderr is closed."""
    if sys.stderr is not None:  # print() would take None for stdout
        print(line, file=sys.stderr, flush=True)


def print_error(what: str, fix: str = "") -> None:
    """The two lines of an error: what is wrong, what to do."""
    say(f"error: {what}")
    if fix:
        say(f"  fix: {fix}")


def print_json(value: Any) -> None:
    """``value`` as JSON on stdout; in ASCII where stdout cannot carry all characters."""
    unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    print(json.dumps(value, indent=2, ensure_ascii=not unicode))


def terminal_safe(text: str) -> str:
    """``text`` without control characters but newline and tab, which a terminal would obey, whoever made them."""
    return "".join(c for c in text if c in "\n\t" or not (c < " " or "\x7f" <= c < "\xa0"))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headings on stdout, in aligned columns of plain text, never cut to the width of a terminal."""
    lines = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def size(count: float) -> str:
    """Bytes for people: ``1.5 GB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def duration(seconds: float) -> str:
    """Seconds for people: ``0:42``, ``3:05:10``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
