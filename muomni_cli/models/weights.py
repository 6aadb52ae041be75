"""Weights as a package carries them: of a checkpoint, what inference uses, and nothing of what training goes on from.
Imports no torch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from muomni_cli.core.files import replacing
from muomni_cli.models.stripping import stripped
from muomni_cli.runs.header import ENTRY, read_header

MODEL = "model."
AVERAGE = "ema."
LARGEST = float(np.finfo(np.float16).max)


def copy_weights(source: Path, target: Path, *, half: bool) -> None:
    """Write the model of the checkpoint ``source``, averaged where it has averages, to ``target``.

    Args:
        source: a checkpoint.
        target: the new one.
        half: store numbers as fp16, but for tensors with one that is too large for it.

    Raises:
        RequestError: the checkpoint is damaged.
        MuomniError: the disk is full.
    """
    header = stripped(read_header(source))
    with safe_open(source, framework="numpy") as file:
        names = set(file.keys())
        tensors = {
            name: file.get_tensor(average if (average := AVERAGE + name.removeprefix(MODEL)) in names else name)
            for name in sorted(names)
            if name.startswith(MODEL)
        }
    if half:
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    with replacing(target) as temporary:
        save_file(tensors, temporary, {ENTRY: json.dumps(header, ensure_ascii=False)})


def _halved(tensor: NDArray[Any]) -> NDArray[Any]:
    small = tensor.dtype == np.float32 and (not tensor.size or float(np.abs(tensor).max()) <= LARGEST)
    return tensor.astype(np.float16) if small else tensor


def counts(checkpoint: Path, depth: int = 0) -> Counter[str]:
    """How many numbers the model of a checkpoint has, by the first ``depth`` words of their names; reads no numbers."""
    read_header(checkpoint)
    found: Counter[str] = Counter()
    with safe_open(checkpoint, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - it is no mapping
            if name.startswith(MODEL):
                shape = file.get_slice(name).get_shape()
                found[".".join(name.split(".")[1 : 1 + depth])] += int(np.prod(shape, dtype=np.int64))
    return found
