"""A Talker with monotonic text alignment, which predicts codes frame by frame.

Durations align characters with frames (arXiv:1905.09263), so nothing is skipped or repeated; each code of a frame is
predicted given those before it in the frame, as for residual codes in arXiv:2209.03143.

Shapes: B batch, S symbols, T frames, D width, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import CodeShape, Sampler, TextChunk, VoiceSettings
from muomni_cli.nn.streaming import CausalStack, ConvNeXt, State
from muomni_newpart import symbols
from muomni_newpart.config import NewpartConfig
from muomni_newpart.synthesis import speak


class Newpart(nn.Module):
    """A :class:`muomni_cli.api.Talker`. It does not use a Thinker's states."""

    def __init__(self, config: NewpartConfig, codes: CodeShape, voices: Sequence[str]) -> None:
        super().__init__()
        self.config, self.codes, self.voices = config, codes, tuple(voices)
        width, books = config.d_model, range(codes.codebooks)
        self.letters = nn.Embedding(symbols.COUNT, width, padding_idx=symbols.PAD)
        self.voice = nn.Embedding(max(1, len(self.voices)), width)
        self.reading = nn.ModuleList(self._block(config.text_layers) for _ in range(config.text_layers))
        self.duration = nn.Linear(width, 1)
        self.elapsed = nn.Linear(1, width)
        self.history = nn.ModuleList(nn.Embedding(codes.size, width) for _ in books)
        self.stack = CausalStack(
            [*(self._block(config.layers) for _ in range(config.layers)), nn.LayerNorm(width)], width
        )
        self.tables = nn.ModuleList(nn.Embedding(codes.size, width) for _ in books[1:])
        self.heads = nn.ModuleList(nn.Linear(width, codes.size) for _ in books)
        for table in (*self.history, *self.tables):
            assert isinstance(table, nn.Embedding)
            nn.init.normal_(table.weight, std=0.3)

    def _block(self, count: int) -> ConvNeXt:
        return ConvNeXt(self.config.d_model, kernel=self.config.kernel, scale=1 / count)

    def read(self, ids: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """(B,S) symbols and (B,) voices -> (B,S,D) features, and (B,S) durations in frames."""
        real = (ids != symbols.PAD)[..., None].float()
        x = (self.letters(ids) + self.voice(voice)[:, None]) * real
        for block in self.reading:
            assert isinstance(block, ConvNeXt)
            x = block.centered(x) * real
        return x, F.softplus(self.duration(x)[..., 0]) * real[..., 0]

    def states(
        self, under: Tensor, elapsed: Tensor, before: Tensor, past: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """(B,T,D) features of each frame's symbol, (B,T) elapsed share of the symbol, (B,T,Q) previous codes, and the
        past states of the layers -> (B,T,D) states, and the present states of the layers."""
        said = torch.stack([table(before[..., q]) for q, table in enumerate(self.history)]).sum(0)
        states, present = self.stack(under + self.elapsed(elapsed[..., None]) + said, past)
        return states, present

    def logits(self, states: Tensor, codes: Tensor) -> Tensor:
        """(...,D) states and (...,Q) codes -> (...,Q,K); codebook q depends only on the codes before q."""
        logits, given = [], states
        for q, head in enumerate(self.heads):
            logits.append(head(given))
            if q < len(self.tables):
                given = given + self.tables[q](codes[..., q])
        return torch.stack(logits, dim=-2)

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        """(B,T,Q) codes -> Q times (B,T,K), without text."""
        nothing = self.letters.weight.new_zeros(*codes.shape[:2], self.config.d_model)
        states, _ = self.states(nothing, nothing[..., 0], codes)
        return self.logits(states, codes).unbind(-2)

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        return speak(TorchEngine(self), text, voice_settings, sampler)


class TorchEngine:
    """The network in PyTorch as a :class:`muomni_newpart.synthesis.Engine`."""

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


def build(config: NewpartConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> Newpart:  # noqa: ARG001
    """A Talker with random weights; ``thinker_width`` is unused."""
    return Newpart(config, codes, voices)
