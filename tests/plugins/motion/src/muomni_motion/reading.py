"""CSV files of a motion sensor to arrays, and back. Knows no torch.

Shapes: N samples.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError
from muomni_motion.config import COLUMNS, MotionConfig

SCALES = np.repeat(np.float32([9.81, 4.0, 50.0]), 3)
"""What the nine axes are divided by: gravity, a quick turn, the field of the earth."""

FEWEST = 16
"""Samples of a recording."""

HINT = f"a recording is CSV with the columns {','.join(COLUMNS)}"


def read(config: MotionConfig, file: BinaryIO, name: str) -> NDArray[np.float32]:
    """(N,9) samples at ``config.rate``, near 1. RequestError, which names the file and the line, for what is none."""
    content = file.read(config.max_bytes + 1)
    if len(content) > config.max_bytes:
        raise RequestError(f"{name} is larger than {config.max_bytes:,} bytes", "cut it into shorter recordings")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise RequestError(f"{name} is no text (byte {error.start})", HINT) from error
    if not lines or tuple(word.strip() for word in lines[0].split(",")) != COLUMNS:
        raise RequestError(f"{name} does not begin with the names of the columns", HINT)
    rows = np.array(list(_rows(lines, name)), np.float64).reshape(-1, len(COLUMNS))
    if len(rows) < FEWEST:
        raise RequestError(f"{name} holds {len(rows)} samples", f"a recording has {FEWEST} or more")
    times = rows[:, 0]
    if late := np.flatnonzero(np.diff(times) <= 0).tolist():
        raise RequestError(f"{name}, line {late[0] + 3}: the time does not rise", "sort the samples by time")
    seconds = times[-1] - times[0]
    if seconds > config.max_seconds:
        raise RequestError(f"{name} is {seconds:.0f} s long", f"give at most {config.max_seconds:g} s")
    even = np.arange(times[0], times[-1] + 0.5 / config.rate, 1 / config.rate)
    if len(even) < 2:
        raise RequestError(f"{name} is {seconds:g} s long", f"a sample is {1 / config.rate:g} s")
    axes = [np.interp(even, times, rows[:, axis]) for axis in range(1, len(COLUMNS))]
    return (np.stack(axes, axis=1) / SCALES).astype(np.float32)


def _rows(lines: Sequence[str], name: str) -> Iterator[list[float]]:
    for number, row in enumerate(csv.reader(lines[1:]), start=2):
        if not row:
            continue
        if len(row) != len(COLUMNS):
            raise RequestError(f"{name}, line {number}: {len(row)} values, not {len(COLUMNS)}", HINT)
        try:
            values = [float(value) for value in row]
        except ValueError as error:
            raise RequestError(f"{name}, line {number}: {error}", HINT) from error
        if not np.isfinite(values).all():
            raise RequestError(f"{name}, line {number}: a value is not finite", "leave out samples that failed")
        yield values


def written(rows: NDArray[np.float64]) -> bytes:
    """(N,10) times and axes as a CSV file."""
    lines = [",".join(COLUMNS), *(",".join([f"{value:.4f}" for value in row]) for row in rows.tolist())]
    return "\n".join([*lines, ""]).encode()


def count(config: MotionConfig, inputs: NDArray[np.float32]) -> int:
    """Tokens of (N,9) samples."""
    tokens = len(inputs)
    for _ in range(config.halvings):
        tokens = -(-tokens // 2)
    return tokens


def bench_inputs(config: MotionConfig) -> dict[str, NDArray[np.float32]]:
    """Noise of two lengths."""
    random = np.random.default_rng(0)
    lengths = {"two seconds": 2, "twenty seconds": 20}
    return {
        what: random.standard_normal((round(seconds * config.rate), 9), np.float32) for what, seconds in lengths.items()
    }
