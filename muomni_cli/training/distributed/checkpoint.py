"""Distributed checkpoints (torch.distributed.checkpoint): each process writes its share while training goes on, and the
first one puts them together as the safetensors file that everything else reads.

Beside ``last.safetensors`` lies the folder ``last.parts`` until that file is written. Where a training was killed in
between, :func:`put_together` finishes the work.
"""

from __future__ import annotations

import json
import shutil
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from muomni_cli.core.errors import MuomniError
from muomni_cli.core.files import write_text
from muomni_cli.runs.checkpoint import write_checkpoint
from muomni_cli.training.distributed.strategy import Sections

HEADER = "header.json"
COMPLETE = ".metadata"  # appears when all processes have written


class ShardedSave:
    """One checkpoint that is being written."""

    def __init__(
        self, path: Path, header: Mapping[str, Any], sections: Sections, group: dist.ProcessGroup, *, main: bool
    ) -> None:
        parts = parts_of(path)
        if main:
            shutil.rmtree(parts, ignore_errors=True)
            parts.mkdir(parents=True)
            write_text(parts / HEADER, json.dumps(dict(header)))
        dist.barrier(group)
        flat = {
            f"{section}/{name}": tensor for section, tensors in sections.items() for name, tensor in tensors.items()
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._future: Any = async_save(flat, checkpoint_id=parts, process_group=group)
        self._path, self._main = path, main
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._finish, name="muomni-checkpoint")
        self._thread.start()

    def finished(self, *, wait: bool) -> bool:
        """Whether it is written. MuomniError if it cannot be."""
        if wait:
            self._thread.join()
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise MuomniError(
                f"the checkpoint {self._path} could not be written: {self._error}", "free some space, then use --resume"
            ) from self._error
        return True

    def _finish(self) -> None:
        try:
            self._future.result()
            if self._main:
                put_together(self._path)
        except BaseException as error:
            self._error = error


def parts_of(path: Path) -> Path:
    """Where the processes write their shares of the checkpoint ``path``."""
    return path.with_suffix(".parts")


def put_together(path: Path) -> None:
    """Write ``path`` from its parts, if all are there, and remove them."""
    parts = parts_of(path)
    if (parts / COMPLETE).is_file() and (parts / HEADER).is_file():
        reader = FileSystemReader(parts)
        known = reader.read_metadata().state_dict_metadata
        state: dict[str, Tensor] = {
            name: torch.empty(about.size, dtype=about.properties.dtype)
            for name, about in known.items()
            if isinstance(about, TensorStorageMetadata)
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            load(state, storage_reader=reader, no_dist=True)
        sections: dict[str, dict[str, Tensor]] = {}
        for full, tensor in state.items():
            section, _, name = full.partition("/")
            sections.setdefault(section, {})[name] = tensor
        write_checkpoint(path, json.loads((parts / HEADER).read_text("utf-8")), sections)
    shutil.rmtree(parts, ignore_errors=True)
