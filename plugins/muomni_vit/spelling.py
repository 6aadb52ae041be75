"""Texts as bytes. Knows no torch, no pictures.

Shapes: B batch, L bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

END, HIDDEN = 256, 257
"""What follows the last byte of a text (and fills its row), and what stands for a byte that is not shown."""

SPACE = ord(" ")

SYMBOLS = 258
"""Bytes, the end, and the hidden byte."""


def spelled(texts: Sequence[str], longest: int) -> NDArray[np.int64]:
    """(B,1+L) the bytes of each text, at most ``longest``, and at least one :data:`END` after them."""
    rows = [text.encode("utf-8")[:longest] for text in texts]
    symbols = np.full((len(rows), 1 + max(map(len, rows), default=0)), END, np.int64)
    for row, text in zip(symbols, rows, strict=True):
        row[: len(text)] = list(text)
    return symbols


def read(symbols: Sequence[int]) -> str:
    """The text before the first :data:`END`."""
    symbols = list(symbols)
    ends = symbols.index(END) if END in symbols else len(symbols)
    return bytes(symbol for symbol in symbols[:ends] if symbol < END).decode("utf-8", "replace")
