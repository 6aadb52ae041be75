"""The PyTorch backend of the generation loop, and linear layers packed for decoding.

With one row, a linear layer is limited by reading its matrix, and BLAS reads a (out, in) matrix at a fraction of the
memory bandwidth. Cut into contiguous panels of :data:`WIDTH` outputs, the same product is a batch of small ones, read
sequentially and shared by the cores: 2 to 4 times faster for one row, and no slower for a prompt. It is the packing
inside fast matrix products (Goto and van de Geijn, 2008), done once and kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.declarations import Capability
from muomni_cli.contract.models import PADDED_ROW, Cache, Thinker
from muomni_cli.core.errors import RequestError
from muomni_cli.nn.transformer import FusedLinear

WIDTH = 32  # outputs per panel: two AVX-512 registers of fp32
FIRST_MEDIA_ID = -2  # the first id of an embedding; -1 is PADDED_ROW
ALL = frozenset({Capability.CACHE, Capability.RAGGED, Capability.TRUNCATE, Capability.JOIN, Capability.EMBEDS})
TOGETHER = frozenset({Capability.CACHE, Capability.RAGGED})  # capabilities that rows need to run together
"""The capabilities of a fast Thinker. One with a recurrent state may lack ``TRUNCATE``."""


class PackedLinear(nn.Module):
    """``linear`` with its weights copied into panels; for inference only."""

    panels: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        count = -(-self.out_features // WIDTH)
        padded = nn.functional.pad(weight, (0, 0, 0, count * WIDTH - self.out_features))
        # (outputs, in) -> (count, in, WIDTH)
        self.register_buffer("panels", padded.view(count, WIDTH, -1).transpose(1, 2).contiguous(), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        rows = x.reshape(-1, self.in_features)  # (M,in)
        out = torch.bmm(rows.expand(self.panels.shape[0], -1, -1), self.panels)  # (count,M,WIDTH)
        out = out.transpose(0, 1).reshape(*x.shape[:-1], -1)
        if out.shape[-1] != self.out_features:
            out = out[..., : self.out_features]
        return out if self.bias is None else out + self.bias


def pack_linear_layers(module: nn.Module) -> None:
    """Replace the linear layers inside ``module`` by packed ones, if the weights are on the CPU.

    For modules that will not be trained or saved again, and whose code calls its layers without reading their weights.
    A layer with a shared weight (a tied table) is left alone.
    """
    uses = Counter(id(weight) for layer in module.modules() for weight in layer.parameters(recurse=False))
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            linear = cast("nn.Linear", layer) if type(layer) in (nn.Linear, FusedLinear) else None
            if linear is not None and linear.weight.device.type == "cpu" and uses[id(linear.weight)] == 1:
                setattr(parent, name, PackedLinear(linear).eval())


@dataclass(slots=True)
class CacheGroup:
    """Rows that run together: their tokens, and their cache (None: every step runs from the start)."""

    ids: list[list[int]]
    cache: Cache | None
    hidden: Tensor | None = None  # (rows,D), if kept
    media: Tensor | None = None  # (N,D), of negative ids: row n has the id FIRST_MEDIA_ID - n


class TorchBackend:
    """A :class:`muomni_cli.contract.models.Backend` over ``thinker``, in evaluation mode.

    Args:
        thinker: also an ``nn.Module``.
        capabilities: of its declaration. Without ``RAGGED`` rows run one by one, without ``CACHE`` from the start.
        prefix_cache: keep the rows after a request, so that a prompt with the same beginning runs only its new tokens.
            Without ``TRUNCATE``, it must continue everything that a row holds.
        pack_weights: the weights will not change any more, so they may be packed.
        hidden: keep the states behind the last logits, for :meth:`hidden`.
    """

    def __init__(
        self,
        thinker: Thinker,
        capabilities: frozenset[Capability] | set[Capability] = ALL,
        *,
        prefix_cache: bool = False,
        pack_weights: bool = False,
        hidden: bool = False,
    ) -> None:
        self.thinker = thinker
        self._keeps_hidden = hidden
        self.capabilities = capabilities
        self.prefix_cache = prefix_cache and Capability.CACHE in capabilities
        self._kept: list[CacheGroup] = []
        self._media: Tensor | None = None  # as of a group
        assert isinstance(thinker, nn.Module)
        self._module = thinker
        self._device = next(thinker.parameters()).device
        if pack_weights:
            pack_linear_layers(thinker)

    @property
    def context(self) -> int:
        return int(self.thinker.config.ctx_len)

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        if Capability.EMBEDS not in self.capabilities:
            fix = f"use one that declares {Capability.EMBEDS.value}"
            raise RequestError("this Thinker takes no embeddings, so it cannot take media", fix)
        first = FIRST_MEDIA_ID if self._media is None else FIRST_MEDIA_ID - len(self._media)
        new = torch.from_numpy(rows).to(next(self._module.parameters()))
        self._media = new if self._media is None else torch.cat((self._media, new))
        return list(range(first, first - len(rows), -1))

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[list[CacheGroup], NDArray[np.float32]]:
        """Run ``prompts`` (B of ids), for ``capacity`` tokens a row; the state, and logits (B, V) after the last id."""
        self._module.eval()
        parts = self._split([list(prompt) for prompt in prompts])
        held: Sequence[CacheGroup | None] = self._kept if len(self._kept) == len(parts) else [None] * len(parts)
        room = self.context if self.prefix_cache else capacity
        groups = [
            group if group is not None and self._serves(group, part) else self._new_group(len(part), room)
            for group, part in zip(held, parts, strict=True)
        ]
        self._kept = []  # an interrupt may leave a cache that does not match its group
        for group in groups:
            group.media = self._media
        logits = [self._read(group, part) for group, part in zip(groups, parts, strict=True)]
        self._kept = groups if self.prefix_cache else []
        return groups, np.concatenate(logits)

    def step(self, state: list[CacheGroup], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = iter([[] if token == PADDED_ROW else [token] for token in tokens.tolist()])
        self._kept = []
        logits = [self._add(group, [next(rows) for _ in group.ids]) for group in state]
        self._kept = state if self.prefix_cache else []
        return np.concatenate(logits)

    def select(self, state: list[CacheGroup], rows: Sequence[int]) -> list[CacheGroup]:
        first, left = 0, []
        for group in state:
            own = [row - first for row in rows if first <= row < first + len(group.ids)]
            first += len(group.ids)
            if own:
                left.append(group if len(own) == len(group.ids) else self._joined([(group, own)]))
        return left

    def merge(self, states: Sequence[list[CacheGroup]]) -> list[CacheGroup]:
        groups = [group for state in states for group in state]
        if len(groups) < 2 or not TOGETHER | {Capability.JOIN} <= self.capabilities:
            return groups
        return [self._joined([(group, list(range(len(group.ids)))) for group in groups])]

    def hidden(self, state: list[CacheGroup]) -> NDArray[np.float32]:
        assert self._keeps_hidden, "requested at construction"
        width = int(self.thinker.config.d_model)
        rows = [torch.zeros(len(g.ids), width) if g.hidden is None else g.hidden.float().cpu() for g in state]
        return torch.cat(rows).numpy()

    def _split(self, rows: list[list[int]]) -> list[list[list[int]]]:
        """Which rows run together."""
        return [rows] if self.capabilities >= TOGETHER else [[row] for row in rows]

    @torch.inference_mode()
    def _new_group(self, rows: int, room: int) -> CacheGroup:
        cache = self.thinker.new_cache(rows, room) if Capability.CACHE in self.capabilities else None
        return CacheGroup([[] for _ in range(rows)], cache)

    @torch.inference_mode()
    def _joined(self, parts: Sequence[tuple[CacheGroup, list[int]]]) -> CacheGroup:
        """A new group of the given rows of each group, which have caches."""
        caches = [group.cache for group, _ in parts]
        joined = CacheGroup([group.ids[row] for group, rows in parts for row in rows], None)
        joined.cache = self.thinker.new_cache(len(joined.ids), max(cache.capacity for cache in caches if cache))
        start = 0
        for cache, (_, rows) in zip(caches, parts, strict=True):
            joined.cache.copy_rows(start, cache, rows)
            start += len(rows)
        return joined

    def _serves(self, group: CacheGroup, prompts: list[list[int]]) -> bool:
        """Whether the group can be made to hold ``prompts``."""
        return len(group.ids) == len(prompts) and (
            Capability.TRUNCATE in self.capabilities
            or all(_shared(held, prompt) == len(held) for held, prompt in zip(group.ids, prompts, strict=True))
        )

    def _read(self, group: CacheGroup, prompts: list[list[int]]) -> NDArray[np.float32]:
        """Make the group hold ``prompts``, reusing common prefixes."""
        shared = [_shared(held, prompt) for held, prompt in zip(group.ids, prompts, strict=True)]
        if group.cache is not None and shared != [len(held) for held in group.ids]:
            group.cache.truncate(shared)
        group.ids = [held[:count] for held, count in zip(group.ids, shared, strict=True)]
        return self._add(group, [prompt[count:] for prompt, count in zip(prompts, shared, strict=True)])

    @torch.inference_mode()
    def _add(self, group: CacheGroup, new: list[list[int]]) -> NDArray[np.float32]:
        """Run the new tokens of each row; logits (B,V) after each row's last token."""
        if not any(new):  # a finished row that runs alone
            return np.zeros((len(new), self.thinker.vocab_size), np.float32)
        group.ids = [held + more for held, more in zip(group.ids, new, strict=True)]
        todo = new if group.cache is not None else group.ids
        lengths = [len(row) for row in todo]
        width = max(lengths)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in todo], device=self._device)
        ragged = None if min(lengths) == width else lengths
        if any(token < 0 for row in todo for token in row):
            output = self.thinker(
                embeds=self._embed(ids, group.media), cache=group.cache, lengths=ragged, last_only=True
            )
        else:
            output = self.thinker(ids, cache=group.cache, lengths=ragged, last_only=True)
        if self._keeps_hidden:
            last = torch.tensor(lengths, device=self._device).sub(1).clamp(min=0)
            group.hidden = output.hidden[torch.arange(len(new), device=self._device), last]
        logits: Tensor = output.logits[:, -1].float().cpu()
        return logits.numpy()

    def _embed(self, ids: Tensor, media: Tensor | None) -> Tensor:
        """(B,T) ids, some of them negative -> (B,T,D)."""
        assert media is not None, "negative ids come from add_embeddings"
        embeds = self.thinker.embed(ids.clamp(min=0))
        row, place = (ids < 0).nonzero(as_tuple=True)
        embeds[row, place] = media[FIRST_MEDIA_ID - ids[row, place]]
        return embeds


def _shared(held: Sequence[int], prompt: Sequence[int]) -> int:
    """Length of the common prefix, without the last token of ``prompt``, which must be run."""
    limit = min(len(held), len(prompt) - 1)
    return next((place for place in range(limit) if held[place] != prompt[place]), limit)
