"""Runs the network with PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import CodeShape
from muomni_newpart.config import NewpartConfig

if TYPE_CHECKING:
    from muomni_newpart.model import Newpart  # which imports this module


class TorchEngine:
    """An :class:`muomni_newpart.speaking.Engine`."""

    def __init__(self, talker: Newpart) -> None:
        self._talker, self._device = talker, talker.letters.weight.device
        self.config: NewpartConfig = talker.config
        self.codes: CodeShape = talker.codes
        self.voices: Sequence[str] = talker.voices

    @torch.inference_mode()
    def read(self, ids: NDArray[Any], voice: int) -> tuple[NDArray[Any], NDArray[Any]]:
        features, lasting = self._talker.read(self._row(ids), self._row(np.array(voice)))
        return _array(features[0]), _array(lasting[0])

    def begin(self) -> None:
        """None: the network starts from zeros."""

    @torch.inference_mode()
    def step(self, under: NDArray[Any], elapsed: float, before: NDArray[Any], memory: Any) -> tuple[NDArray[Any], Any]:
        share = self._row(np.array([elapsed], np.float32))
        states, memory = self._talker.states(self._row(under[None]), share, self._row(before[None]), memory)
        return _array(states[0, 0]), memory

    @torch.inference_mode()
    def logits(self, state: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
        return _array(self._talker.logits(self._row(state), self._row(codes))[0])

    def _row(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array))[None].to(self._device)


def _array(tensor: Tensor) -> NDArray[Any]:
    return tensor.float().cpu().numpy()
