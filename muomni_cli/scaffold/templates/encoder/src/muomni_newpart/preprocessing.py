"""Files to arrays, in training, in chat and on devices; must not import torch.

Shapes: N lines, C channels.
"""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_newpart.config import NewpartConfig


def read(config: NewpartConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,C) numbers of a CSV file without a header.

    Raises:
        RequestError: it is not such a file, or exceeds a limit; the message starts with ``name``.
    """
    hint = f"give lines of {config.channels} comma-separated numbers"
    content = file.read(config.max_bytes + 1)
    if len(content) > config.max_bytes:
        raise RequestError(f"{name} is larger than {config.max_bytes:,} bytes", "split it into smaller files")
    try:
        lines = content.decode("utf-8-sig").split()
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} is not text (byte {error.start})", hint) from error
    if not 1 <= len(lines) <= config.max_lines:
        raise RequestError(f"{name} has {len(lines):,} lines", f"give from 1 to {config.max_lines:,}")
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            values = [float(value) for value in line.split(",")]
        except ValueError as error:
            raise RequestError(f"{name}, line {number}: {error}", hint) from error
        if len(values) != config.channels or not np.isfinite(values).all():
            raise RequestError(f"{name}, line {number} is not {config.channels} numbers", hint)
        rows.append(values)
    return np.array(rows, np.float32)


def count(config: NewpartConfig, inputs: NDArray[np.float32]) -> int:
    """Tokens of (N,C) numbers."""
    tokens = len(inputs)
    for _ in range(config.halvings):
        tokens = -(-tokens // 2)
    return tokens


def bench_inputs(config: NewpartConfig) -> dict[str, NDArray[np.float32]]:
    """Noise of two lengths, for `muomni bench encode` and `muomni plugins check`."""
    random = np.random.default_rng(0)
    return {
        what: random.standard_normal((lines, config.channels), np.float32)
        for what, lines in {"100 lines": 100, "1,000 lines": 1000}.items()
    }
