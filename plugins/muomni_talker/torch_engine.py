"""The PyTorch model as an :class:`muomni_talker.engine.Engine`: on any device, in any precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Choose, CodeShape
from muomni_cli.layers.cache import KVCache
from muomni_cli.layers.transformer import Stack
from muomni_talker.config import SpeakerConfig
from muomni_talker.heads import Heads
from muomni_talker.reading import Framer, Pointer, Reader


class SpeakingNetwork(Protocol):
    """What the engine drives: a :class:`muomni_talker.model.Speaker`."""

    config: SpeakerConfig
    codes: CodeShape
    thinker_width: int
    causal: bool
    reader: Reader
    framer: Framer
    stack: Stack
    heads: Heads

    @property
    def voices(self) -> Sequence[str]: ...

    def states(self, before: Tensor, plan: Tensor, cache: KVCache | None = None) -> Tensor: ...


class TorchEngine:
    """See :class:`muomni_talker.engine.Engine`.

    Args:
        talker: in evaluation mode, or it speaks as it trains.
    """

    def __init__(self, talker: SpeakingNetwork) -> None:
        self._talker, self._like = talker, talker.framer.nothing
        self.config: SpeakerConfig = talker.config
        self.codes: CodeShape = talker.codes
        self.voices: Sequence[str] = talker.voices
        self.thinker_width: int = talker.thinker_width
        self.causal: bool = talker.causal

    @torch.inference_mode()
    def read(
        self, ids: NDArray[Any], voice: int, thoughts: NDArray[Any] | None, kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """See :class:`muomni_talker.engine.Engine`."""
        heard = None if thoughts is None else self._given(thoughts)[None]
        features = self._talker.reader(self._given(ids)[None], self._given(np.array([voice])), heard)[:, kept]
        return _array(features[0]), _array(self._talker.reader.expected(features)[0])

    @torch.inference_mode()
    def plan(self, features: NDArray[Any], pointer: NDArray[Any]) -> NDArray[Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        under = Pointer(*(column[None] for column in self._given(pointer).unbind(1)))
        return _array(self._talker.framer(self._given(features).to(self._like.dtype)[None], under)[0])

    @torch.inference_mode()
    def begin(self) -> KVCache:
        """See :class:`muomni_talker.engine.Engine`."""
        return self._talker.stack.new_cache(1, self.config.ctx_len)

    @torch.inference_mode()
    def step(self, before: NDArray[Any], plan: NDArray[Any], memory: KVCache) -> Tensor:
        """See :class:`muomni_talker.engine.Engine`."""
        said = self._given(plan).to(self._like.dtype)[None, None]
        return self._talker.states(self._given(before)[None, None], said, memory)[0, 0]

    @torch.inference_mode()
    def whole(self, plan: NDArray[Any]) -> Sequence[Tensor]:
        """See :class:`muomni_talker.engine.Engine`."""
        said = self._given(plan).to(self._like.dtype)[None]
        before = torch.zeros(1, len(plan), self.codes.codebooks, dtype=torch.long, device=said.device)
        return self._talker.states(before, said)[0].unbind(0)

    @torch.inference_mode()
    def draw(self, state: Tensor, choose: Choose) -> NDArray[Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        codes = self._talker.heads.draw(state, lambda logits: torch.tensor(choose(logits.float().cpu().numpy())))
        return codes.cpu().numpy()

    def _given(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._like.device)


def _array(tensor: Tensor) -> NDArray[Any]:
    """In float32, which holds every narrower precision exactly."""
    return tensor.float().cpu().numpy()
