"""The parts that a packed model names, in PyTorch, with random weights. Imports torch; knows no part by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.layers.device import choose_device, set_threads
from muomni_cli.omni.model import Omni
from muomni_cli.runs.folder import open_entry
from muomni_cli.runs.parts import build_part


class TorchPeer:
    """PyTorch eager: the modules as training has them, with the cache and the loop of ``muomni chat``.

    Args:
        parts: what the model says of its parts.
        senses: those whose tokens the Thinker takes.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 for PyTorch's choice.
    """

    def __init__(
        self, parts: Mapping[str, Mapping[str, Any]], senses: Sequence[str], device: str, threads: int
    ) -> None:
        set_threads(threads)
        self._parts, self._senses, self._device = parts, senses, choose_device(device)
        self._omni: Omni | None = None

    def backend(self, *, laid_out: bool = False) -> TorchBackend:
        """The Thinker for the generation loop; ``laid_out``: weights copied into the order in which they are read, as
        ``muomni chat`` does with a model in PyTorch."""
        entry = self._parts["thinker"]
        return TorchBackend(self._ready("thinker"), open_entry(entry)[0].part.can, frozen=laid_out)

    def encode(self, modality: str, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """One input -> (T,D); see :class:`muomni_cli.contract.packed.Packed`."""
        if self._omni is None:
            encoders = {name: self._ready(name) for name in self._senses}
            self._omni = Omni(self._ready("thinker"), encoders).eval().requires_grad_(False).to(self._device)
        return self._omni.encode(modality, inputs)

    def _ready(self, name: str) -> Any:
        torch.manual_seed(0)
        entry = self._parts[name]
        return build_part(*open_entry(entry), entry).eval().requires_grad_(False).to(self._device)
