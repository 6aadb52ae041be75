"""Counts the words of a text."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from muomni_cli.api import RequestError

WORD = re.compile(r"[^\W\d_]+")


def words_of(path: Path) -> Counter[str]:
    """Counts of the lower-cased words of a file.

    Raises:
        RequestError: it cannot be read as text.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return Counter(word.lower() for line in file for word in WORD.findall(line))
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", "pass a text file") from error
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
