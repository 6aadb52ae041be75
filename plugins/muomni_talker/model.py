"""The Talkers: text to code frames, autoregressively (:class:`CursorTalker`) or a sentence at once
(:class:`ParallelTalker`).

Explicit monotonic alignment, as in FastSpeech 2 (arXiv:2006.04558) and RALL-E (arXiv:2404.03204): every character has a
duration in slots, so nothing is skipped, repeated or continued forever. Text features depend on a bounded number of
characters to either side, so a sentence can be encoded while it is still being written. A frame's state predicts the
base code, then each residual code given those before it.

Shapes: B batch, S symbols, U slots, T frames, W width of features, D width of frames, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import CodeShape, RequestError, Sampler, TextChunk, VoiceSettings
from muomni_cli.nn.cache import KVCache
from muomni_cli.nn.streaming import CausalConv
from muomni_cli.nn.transformer import Stack
from muomni_talker.frames import MOST_ROWS, Engine, FrameBatch
from muomni_talker.plugin import TalkerBaseConfig
from muomni_talker.synthesis import speak
from muomni_talker.text_normalization import written_form

STEADY = 32  # elapsed and remaining slots are clamped below this number


@dataclass(slots=True)
class Alignment:
    """For each slot of a batch of sentences: ``symbol`` (B,U), the index of the current symbol; ``elapsed`` and
    ``left`` (B,U), its slots before and after this one."""

    symbol: Tensor
    elapsed: Tensor
    left: Tensor


class TextBlock(nn.Module):
    """A gated convolution over symbols with a residual connection."""

    def __init__(self, config: TalkerBaseConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.d_text)
        self.convolution = CausalConv(config.d_text, config.text_kernel, 2 * config.d_text)
        self.out = nn.Linear(config.d_text, config.d_text)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """(B,S,W), real (B,S,1) -> (B,S,W)."""
        value, gate = self.convolution.centered(self.norm(x) * real).chunk(2, dim=-1)
        return x + self.dropout(self.out(value * F.silu(gate)))  # type: ignore[no-any-return]


class TextEncoder(nn.Module):
    """Symbols to features and durations."""

    def __init__(self, config: TalkerBaseConfig, voices: int, thinker_width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(written_form.COUNT, config.d_text)
        self.voices = nn.Embedding(max(voices, 1), config.d_text)
        self.thought = nn.Linear(thinker_width, config.d_text, bias=False) if thinker_width else None
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.text_layers))
        self.norm = nn.LayerNorm(config.d_text)
        self.lasting = nn.Sequential(  # (B,S,W) features -> (B,S,max_duration + 1) logits of durations in slots
            nn.Linear(config.d_text, config.d_text), nn.GELU(), nn.Linear(config.d_text, config.max_duration + 1)
        )

    def forward(self, ids: Tensor, voice: Tensor, hidden_states: Tensor | None = None) -> Tensor:
        """(B,S) symbols, (B,) voices and (B,S,Dh) Thinker states (zeros: none) -> (B,S,W) features."""
        x = self.table(ids) + self.voices(voice)[:, None]
        if self.thought is not None and hidden_states is not None:
            x = x + self.thought(hidden_states)
        real = (ids != written_form.PAD)[..., None].to(x.dtype)
        for block in self.blocks:
            x = block(x, real)
        return self.norm(x)  # type: ignore[no-any-return]

    def expected(self, features: Tensor) -> Tensor:
        """(B,S,W) -> (B,S) mean durations in slots; their sum preserves the length of a sentence."""
        shares: Tensor = self.lasting(features).float().softmax(-1)
        return shares @ torch.arange(shares.shape[-1], device=shares.device, dtype=shares.dtype)


class LengthRegulator(nn.Module):
    """Expands symbol features to frames by an alignment, and mixes neighboring frames."""

    def __init__(self, config: TalkerBaseConfig) -> None:
        super().__init__()
        self.slots = config.subframes
        self.elapsed = nn.Embedding(STEADY, config.d_text)
        self.left = nn.Embedding(STEADY, config.d_text)
        self.join = CausalConv(config.subframes * config.d_text, 3, config.d_model)
        self.nothing = nn.Parameter(torch.zeros(config.d_model))

    def forward(self, features: Tensor, alignment: Alignment, frames: Tensor | None = None) -> Tensor:
        """(B,S,W) features and an alignment of U = slots * T slots -> (B,T,D). ``frames`` (B,): frames of each row
        without padding."""
        batch, slots = alignment.symbol.shape
        under = features.gather(1, alignment.symbol[..., None].expand(-1, -1, features.shape[-1]))
        under = under + self.elapsed(alignment.elapsed.clamp(0, STEADY - 1))
        under = under + self.left(alignment.left.clamp(0, STEADY - 1))
        joined = under.view(batch, slots // self.slots, -1)  # (B,T,slots*W)
        if frames is not None:
            places = torch.arange(joined.shape[1], device=joined.device)
            joined = joined * (places < frames[:, None])[..., None]
        return self.join.centered(joined)


class CodeHeads(nn.Module):
    """One head per codebook; head q > 0 is conditioned on the codes of heads 0 to q - 1."""

    def __init__(self, width: int, codes: CodeShape) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(codes.size, width) for _ in range(codes.codebooks - 1))
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(codes.codebooks - 1))
        self.heads = nn.ModuleList(nn.Linear(width, codes.size) for _ in range(codes.codebooks))

    def forward(self, states: Tensor, codes: Tensor) -> list[Tensor]:
        """(B,T,D) states and the (B,T,Q) codes of the same frames -> Q times (B,T,K)."""
        return [head(self.given(states, q, codes)) for q, head in enumerate(self.heads)]

    def given(self, states: Tensor, q: int, codes: Tensor) -> Tensor:
        """(...,D) states conditioned on the first ``q`` of (...,Q) codes."""
        if q == 0:
            return states
        known = states
        for before in range(q):
            known = known + self.tables[before](codes[..., before])
        return states + F.gelu(self.mixers[q - 1](known))

    def draw(self, states: Tensor, sampler: Callable[[Tensor], Tensor]) -> Tensor:
        """(...,D) -> (...,Q) codes, each drawn by ``sampler`` from (...,K) logits given the codes before."""
        codes = states.new_zeros(*states.shape[:-1], len(self.heads), dtype=torch.long)
        for q, head in enumerate(self.heads):
            codes[..., q] = sampler(head(self.given(states, q, codes)))
        return codes


def summed(logits: Sequence[Tensor], codes: Tensor, real: Tensor) -> list[Tensor]:
    """Cross-entropy of each codebook, nats summed over the (B,T) frames that are ``real``."""
    return [
        F.cross_entropy(given[real].float(), codes[..., q][real], reduction="sum") for q, given in enumerate(logits)
    ]


@dataclass(slots=True)
class CachedRow:
    """The memory of a sentence: a row of a cache, once it has a frame."""

    cache: KVCache | None = None
    place: int = 0


class TorchEngine(Engine):
    """The inference interface on PyTorch; ``talker`` should be in evaluation mode."""

    def __init__(self, talker: TalkerBase) -> None:
        self._talker, self._like = talker, talker.framer.nothing
        self.config, self.codes, self.voices = talker.config, talker.codes, talker.voices
        self.thinker_width, self.causal = talker.thinker_width, talker.causal

    @torch.inference_mode()
    def read(
        self, ids: NDArray[Any], voice: int, hidden_states: NDArray[Any], kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        given = self._given(ids[None]), self._given(np.array([voice])), self._given(hidden_states[None])
        features = self._talker.reader(*given)[:, kept]
        return _array(features[0]), _array(self._talker.reader.expected(features)[0])

    @torch.inference_mode()
    def plan(self, features: NDArray[Any], alignment: NDArray[Any]) -> NDArray[Any]:
        under = Alignment(*self._given(alignment[None]).unbind(2))
        return _array(self._talker.framer(self._given(features[None]), under)[0])

    def begin(self) -> CachedRow:
        return CachedRow()

    @torch.inference_mode()
    def step(self, before: NDArray[Any], plan: NDArray[Any], memories: Sequence[CachedRow]) -> Tensor:
        cache = self._shared(memories)
        return self._talker.states(self._given(before[:, None]), self._given(plan[:, None]), cache)[:, 0]

    def _shared(self, memories: Sequence[CachedRow]) -> KVCache:
        """The cache that holds these rows and no others, in this order."""
        cache = memories[0].cache
        same = all(row.cache is cache and row.place == place for place, row in enumerate(memories))
        if cache is not None and same and len(cache.lengths) == len(memories):
            return cache
        joined = self._talker.stack.new_cache(len(memories), self.config.ctx_len)
        for place, row in enumerate(memories):
            if row.cache is not None:
                joined.copy_rows(place, row.cache, [row.place])
            row.cache, row.place = joined, place
        return joined

    @torch.inference_mode()
    def whole(self, plan: NDArray[Any]) -> Tensor:
        before = np.zeros((1, len(plan), self.codes.codebooks), np.int64)
        return self._talker.states(self._given(before), self._given(plan[None]))[0]

    @torch.inference_mode()
    def draw(self, states: Tensor, samplers: Sequence[Sampler]) -> NDArray[Any]:
        def drawn(logits: Tensor) -> Tensor:
            rows = zip(samplers, logits.float().cpu().numpy(), strict=True)
            return torch.tensor([sampler(row) for sampler, row in rows])

        return self._talker.heads.draw(states, drawn).cpu().numpy()

    @property
    def rows(self) -> int:
        return MOST_ROWS  # nothing is quantized: logits change by the rounding of sums alone

    @cached_property
    def batch(self) -> FrameBatch:
        return FrameBatch(self, self.rows)

    def _given(self, array: NDArray[Any]) -> Tensor:
        """On the Talker's device; floating-point values in its precision."""
        tensor = torch.from_numpy(array).to(self._like.device)
        return tensor.to(self._like.dtype) if tensor.is_floating_point() else tensor


def _array(tensor: Tensor) -> NDArray[Any]:
    """In float32, which holds every narrower precision exactly."""
    return tensor.float().cpu().numpy()


class TalkerBase(nn.Module):
    """Base of the Talkers of this package. A :class:`muomni_cli.api.Talker`."""

    causal: bool

    def __init__(self, config: TalkerBaseConfig, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> None:
        super().__init__()
        self.config, self.codes, self.voices, self.thinker_width = config, codes, tuple(voices), thinker_width
        self.reader = TextEncoder(config, len(voices), thinker_width)
        self.framer = LengthRegulator(config)
        self.stack = Stack(config)
        self.heads = CodeHeads(config.d_model, codes)
        self._shared: TorchEngine | None = None  # of speeches that are decoded together
        self.stack.reset_parameters()
        self.history = nn.ModuleList()  # embeddings of the codes of the previous frame
        if self.causal:
            self.history.extend(nn.Embedding(codes.size, config.d_model) for _ in range(codes.codebooks))
            for table in self.history:
                nn.init.normal_(table.weight, std=0.3)  # type: ignore[arg-type]

    def start_from(self, trained: TalkerBase) -> None:
        """Take the weights of another Talker of this configuration. A voice of the same name keeps its embedding, a new
        one begins with the mean of the trained ones. RequestError: it speaks other codes or follows another Thinker."""
        if (trained.codes, trained.thinker_width) != (self.codes, self.thinker_width):
            raise RequestError(
                f"that Talker predicts codes of {trained.codes} from Thinker states of width {trained.thinker_width}, "
                f"this one {self.codes} and {self.thinker_width}",
                "start from a model with the same codec and Thinker, or train the Talker from random weights",
            )
        weights = dict(trained.state_dict())
        table = weights["reader.voices.weight"]
        rows = [table[trained.voices.index(name)] if name in trained.voices else table.mean(0) for name in self.voices]
        weights["reader.voices.weight"] = torch.stack(rows) if rows else table[:1]
        self.load_state_dict(weights)

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        """Without text; the codes that residual heads are conditioned on are drawn greedily."""
        plan = self.framer.nothing.expand(*codes.shape[:2], -1)
        states = self.states(codes, plan)
        return tuple(self.heads(states, self.heads.draw(states, lambda logits: logits.argmax(-1))))

    def states(
        self,
        before: Tensor,
        plan: Tensor,
        cache: KVCache | None = None,
        lengths: Sequence[int] | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """(B,T,D) states that predict each frame's codes.

        Args:
            before: (B,T,Q) codes of each frame's predecessor.
            plan: (B,T,D) conditioning.
            cache: KV cache of earlier frames.
            lengths: frames of each row without padding.
            known: (B,T,1) factor on the embedding of ``before``; 0 hides it.
        """
        assert self.causal or cache is None, "the parallel Talker has no cache"
        if self.causal:
            said = sum(table(before[..., q]) for q, table in enumerate(self.history))
            plan = plan + (said if known is None else said * known)
        return self.stack.states(plan, cache=cache, lengths=lengths, causal=self.causal)

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, sampler: Sampler
    ) -> Iterator[NDArray[Any]]:
        if not voice_settings.together:
            return speak(TorchEngine(self), text, voice_settings, sampler)
        if self._shared is None:
            self._shared = TorchEngine(self)
        return speak(self._shared, text, voice_settings, sampler)


class CursorTalker(TalkerBase):
    """Autoregressive: each frame is predicted from the previous frames and its plan."""

    causal = True


class ParallelTalker(TalkerBase):
    """Non-autoregressive: all frames of a sentence are predicted at once from their plan."""

    causal = False


# With random weights from torch's global generator.
build = CursorTalker
build_parallel = ParallelTalker
