"""The checkpoint format: one safetensors file, written by rename, never pickled.

Tensors are named ``<section>.<name>`` with the sections ``model``, ``ema``, ``optim``, ``rng`` and ``log``; what the
file is about stands in its header (see :mod:`muomni_cli.runs.header`). Knows nothing of the loop.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.runs.header import ENTRY, FORMAT, read_header


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory: its header, and its tensors by full name, on the CPU."""

    path: Path
    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def section(self, name: str) -> dict[str, Tensor]:
        """The tensors under ``name.``, without that prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def write_checkpoint(path: Path, header: Mapping[str, Any], sections: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``sections`` to ``path``.

    Raises:
        MuomniError: if the disk is full; a checkpoint that was there before is untouched.
    """
    tensors = {
        f"{section}.{name}": tensor.detach().cpu().contiguous().clone()
        for section, named in sections.items()
        for name, tensor in named.items()
    }
    metadata = {ENTRY: json.dumps({"format": FORMAT, **header}, ensure_ascii=False, default=str)}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # how the library reports a full disk
            code = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint to the CPU.

    Raises:
        RequestError: as :func:`~muomni_cli.runs.header.read_header`.
    """
    header = read_header(path)
    return Checkpoint(path, header, load_file(path))


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state; weights that are tied appear once, under their first name."""
    seen: set[tuple[int, torch.Size]] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() == 0 or place not in seen:
            found[name] = tensor
        seen.add(place)
    return found


def load_model(module: nn.Module, checkpoint: Checkpoint, *, ema: bool = False, prefix: str = "") -> None:
    """Put a checkpoint's weights into ``module``; with ``ema``, their average where the checkpoint has one.

    Args:
        module: what to fill.
        checkpoint: of this module, or of one that holds it.
        ema: see above.
        prefix: what the names of this module's weights begin with in the checkpoint.

    Raises:
        RequestError: if the weights are those of a model of another shape.
    """
    wanted = model_tensors(module)
    given = checkpoint.section("model")
    if ema:
        given |= checkpoint.section("ema")
    given = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
    wrong = sorted(
        {n for n, t in wanted.items() if n not in given or given[n].shape != t.shape} | (given.keys() - wanted.keys())
    )
    if wrong:
        raise RequestError(
            f"{checkpoint.path} does not fit this model: {len(wrong)} tensors differ, among them {wrong[0]!r}",
            "use the recipe in the checkpoint's own run folder, or train again with --force",
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])


def rng_tensors(device: torch.device) -> dict[str, Tensor]:
    """State of the random generators that layers draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_rng(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Take the generators back to where :func:`rng_tensors` saw them. A device without a state keeps its own."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
