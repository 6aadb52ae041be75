"""The Talkers: text at a pointer in, code frames out; one frame after the other, or all of a sentence at once.

The arrangement of the specification's part 5 with the text of arXiv:2006.04558's kind of alignment. Knows symbols and
codes, not files, sounds or training.

Shapes: B batch, T frames, S symbols, D width, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Choose, CodeShape, Manner, Said
from muomni_cli.layers.cache import KVCache
from muomni_cli.layers.transformer import Stack
from muomni_talker.config import CursorConfig, ParallelConfig, SpeakerConfig
from muomni_talker.heads import Heads
from muomni_talker.reading import Framer, Pointer, Reader
from muomni_talker.speaking import speak
from muomni_talker.torch_engine import TorchEngine


class Speaker(nn.Module):
    """What the Talkers of this package share. A :class:`muomni_cli.api.Talker`."""

    causal: bool

    def __init__(self, config: SpeakerConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> None:
        super().__init__()
        self.config, self.codes, self.voices, self.thinker_width = config, codes, tuple(voices), thinker_width
        self.reader = Reader(config, len(voices), thinker_width)
        self.framer = Framer(config)
        self.stack = Stack(config)
        self.heads = Heads(config.d_model, codes)
        self.stack.reset_parameters()

    @property
    def blocks(self) -> Iterable[nn.Module]:
        """The repeated layers over frames."""
        return self.stack.blocks

    @property
    def tables(self) -> frozenset[str]:
        """Parameters that are looked up in or read out by."""
        kept = ("table", "voices", "elapsed", "left", "tables", "heads", "history", "nothing")
        return frozenset(
            name for name, value in self.named_parameters() if value.ndim > 1 and set(name.split(".")[:-1]) & {*kept}
        )

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        """See :class:`muomni_cli.api.Talker`."""
        batch, frames, _ = codes.shape
        plan = self.framer.nothing.expand(batch, frames, -1)
        return self.heads.logits(self.states(codes, plan))

    def plan(self, ids: Tensor, pointer: Pointer, voice: Tensor, frames: Tensor, thoughts: Tensor | None) -> Any:
        """What each frame is to say (B,T,D), and the features (B,S,W) that it was made of."""
        features = self.reader(ids, voice, thoughts)
        return self.framer(features, pointer, frames), features

    def states(
        self,
        before: Tensor,
        plan: Tensor,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """(B,T,D) states that say each frame's codes.

        Args:
            before: (B,T,Q) codes of the frame before each.
            plan: (B,T,D).
            cache: of the frames before the first.
            lengths: real frames of each row.
            known: (B,T,1) factor: how much of what was said before is remembered.
        """
        raise NotImplementedError

    def speak(self, text: Iterable[Said], manner: Manner, choose: Choose) -> Iterator[NDArray[Any]]:
        """See :class:`muomni_cli.api.Talker`."""
        return speak(TorchEngine(self), text, manner, choose)


class CursorTalker(Speaker):
    """Frame by frame: each is told from the frames before it and what it is to say."""

    causal = True

    def __init__(self, config: CursorConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> None:
        super().__init__(config, codes, voices, thinker_width)
        self.history = nn.ModuleList(nn.Embedding(codes.size, config.d_model) for _ in range(codes.codebooks))
        for table in self.history:
            nn.init.normal_(table.weight, std=0.3)  # type: ignore[arg-type]

    def states(
        self,
        before: Tensor,
        plan: Tensor,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`Speaker.states`."""
        said = sum(table(before[..., q]) for q, table in enumerate(self.history))
        assert isinstance(said, Tensor)
        return self.stack.states(plan + (said if known is None else said * known), cache=cache, lengths=lengths)


class ParallelTalker(Speaker):
    """All frames of a sentence at once: each is told from what all of them are to say."""

    causal = False

    def states(
        self,
        before: Tensor,  # noqa: ARG002
        plan: Tensor,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
        known: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """See :meth:`Speaker.states`; nothing is remembered."""
        assert cache is None, "there is nothing to remember"
        return self.stack.states(plan, lengths=lengths, causal=False)


def build(config: CursorConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> CursorTalker:
    """The autoregressive Talker with fresh weights from torch's global random numbers."""
    return CursorTalker(config, codes, voices, thinker_width)


def build_parallel(
    config: ParallelConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int
) -> ParallelTalker:
    """The parallel Talker, likewise."""
    return ParallelTalker(config, codes, voices, thinker_width)


def pointer_of(lengths: Sequence[int], device: torch.device | None = None) -> Pointer:
    """The pointer of one sentence whose symbols last so many slots each; (1,U) tensors."""
    count = torch.tensor(lengths, device=device)
    symbol = torch.repeat_interleave(torch.arange(len(lengths), device=device), count)
    elapsed = torch.arange(len(symbol), device=device) - torch.repeat_interleave(count.cumsum(0) - count, count)
    return Pointer(symbol[None], elapsed[None], (count[symbol] - 1 - elapsed)[None])
