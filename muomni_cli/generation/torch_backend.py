"""The generation loop's backend over PyTorch, for any Thinker, and linear layers packed for decoding.

With one row, a linear layer costs what reading its matrix costs, and BLAS reads a (out, in) matrix at a fraction of
the memory bandwidth. Cut into panels of :data:`WIDTH` outputs, each one contiguous block of memory, the same product
is a batch of small ones, read front to back and shared by the cores: 2 to 4 times faster for one row, and no slower
for a prompt. It is the packing that fast matrix products do inside (Goto and van de Geijn, 2008), done once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.declarations import Capability
from muomni_cli.contract.models import PADDED_ROW, Cache, Thinker
from muomni_cli.core.errors import RequestError

WIDTH = 32
"""Outputs in a panel: two AVX-512 registers of fp32."""

FIRST_MEDIA_ID = -2
"""The first id that stands for an embedding; -1 is IDLE."""

ALL = frozenset({Capability.CACHE, Capability.RAGGED, Capability.TRUNCATE, Capability.EMBEDS})
"""What makes generation fast. A Thinker whose memory is no list of tokens may do without ``TRUNCATE``."""


class PackedLinear(nn.Module):
    """The function of ``linear`` with its weights in panels; for inference only.

    Args:
        linear: what to take the place of; its weights are copied.
    """

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
    """Replace every linear layer inside ``module`` by one in panels, where the weights are on the CPU.

    For modules that will neither be trained nor saved any more, and that call their layers and do not read the layers'
    weights. A layer whose weight is also used elsewhere (a tied table) is left alone.
    """
    uses: dict[int, int] = {}
    for layer in module.modules():
        for parameter in layer.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear and layer.weight.device.type == "cpu" and uses[id(layer.weight)] == 1:
                setattr(parent, name, PackedLinear(layer).eval())


@dataclass(slots=True)
class CacheGroup:
    """Rows that run together: the tokens each holds, and the cache that holds them (none: everything is run again)."""

    ids: list[list[int]]
    cache: Cache | None
    hidden: Tensor | None = None  # (rows,D), where they are kept


class TorchBackend:
    """A :class:`muomni_cli.contract.models.Backend` over ``thinker``, which runs in evaluation mode.

    Args:
        thinker: any Thinker; also an ``nn.Module``.
        capabilities: what its declaration promises. Without ``RAGGED`` rows run one by one, without ``CACHE`` from the
            start.
        prefix_cache: remember the rows after a request, so that a prompt that begins alike runs only what is new.
            Without ``TRUNCATE`` that is one that goes on from all that a row holds; others are run from the start.
        frozen: the weights will not change any more, so they may be laid out for speed.
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
        self._soft: Tensor | None = None  # (N,D): row n is what FIRST_SOFT - n stands for
        assert isinstance(thinker, nn.Module)
        self._module = thinker
        self._device = next(thinker.parameters()).device
        if pack_weights:
            pack_linear_layers(thinker)

    @property
    def context(self) -> int:
        """Most tokens a row can hold."""
        return int(self.thinker.config.ctx_len)

    def add_embeddings(self, rows: NDArray[np.float32]) -> list[int]:
        """See :class:`muomni_cli.contract.models.Backend`."""
        if Capability.EMBEDS not in self.capabilities:
            raise RequestError(
                "this Thinker takes no embeddings, so it can neither see nor hear",
                f"use one that declares {Capability.EMBEDS.value}",
            )
        like = next(self._module.parameters())
        first = FIRST_MEDIA_ID if self._soft is None else FIRST_MEDIA_ID - len(self._soft)
        new = torch.from_numpy(rows).to(like)
        self._soft = new if self._soft is None else torch.cat((self._soft, new))
        return list(range(first, first - len(rows), -1))

    def begin(self, prompts: Sequence[Sequence[int]], capacity: int) -> tuple[list[CacheGroup], NDArray[np.float32]]:
        """See :class:`muomni_cli.contract.models.Backend`."""
        self._module.eval()
        parts = self._split([list(prompt) for prompt in prompts])
        held: Sequence[CacheGroup | None] = self._kept if len(self._kept) == len(parts) else [None] * len(parts)
        groups = [
            group if group is not None and self._serves(group, part) else self._new_group(len(part), capacity)
            for group, part in zip(held, parts, strict=True)
        ]
        self._kept = []  # an interrupt may leave a cache that does not hold what its group says
        logits = [self._read(group, part) for group, part in zip(groups, parts, strict=True)]
        self._kept = groups if self.prefix_cache else []
        return groups, np.concatenate(logits)

    def step(self, state: list[CacheGroup], tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.contract.models.Backend`."""
        rows = [[] if token == PADDED_ROW else [token] for token in tokens.tolist()]
        self._kept = []
        logits = [self._add(group, part) for group, part in zip(state, self._split(rows), strict=True)]
        self._kept = state if self.prefix_cache else []
        return np.concatenate(logits)

    def hidden(self, state: list[CacheGroup]) -> NDArray[np.float32]:
        """See :class:`muomni_cli.contract.models.Backend`."""
        assert self._keeps_hidden, "only where they are kept"
        width = int(self.thinker.config.d_model)
        rows = [torch.zeros(len(g.ids), width) if g.hidden is None else g.hidden.float().cpu() for g in state]
        return torch.cat(rows).numpy()

    def _split(self, rows: list[list[int]]) -> list[list[list[int]]]:
        """Which rows run together."""
        return [rows] if {Capability.RAGGED, Capability.CACHE} <= self.capabilities else [[row] for row in rows]

    def _new_group(self, rows: int, capacity: int) -> CacheGroup:
        with torch.inference_mode():
            room = self.context if self.prefix_cache else capacity
            return CacheGroup(
                [[] for _ in range(rows)],
                self.thinker.new_cache(rows, room) if Capability.CACHE in self.capabilities else None,
            )

    def _serves(self, group: CacheGroup, prompts: list[list[int]]) -> bool:
        """Whether a group can be made to hold ``prompts``: by forgetting, if it must and can, and adding."""
        if len(group.ids) != len(prompts):
            return False
        pairs = zip(group.ids, prompts, strict=True)
        return Capability.TRUNCATE in self.capabilities or all(
            _shared(held, prompt) == len(held) for held, prompt in pairs
        )

    def _read(self, group: CacheGroup, prompts: list[list[int]]) -> NDArray[np.float32]:
        """Make the group hold ``prompts``, keeping what it holds of them already."""
        shared = [_shared(held, prompt) for held, prompt in zip(group.ids, prompts, strict=True)]
        if group.cache is not None and shared != [len(held) for held in group.ids]:
            group.cache.truncate(shared)
        group.ids = [held[:count] for held, count in zip(group.ids, shared, strict=True)]
        return self._add(group, [prompt[count:] for prompt, count in zip(prompts, shared, strict=True)])

    @torch.inference_mode()
    def _add(self, group: CacheGroup, new: list[list[int]]) -> NDArray[np.float32]:
        """Run the new tokens of each row; logits (B,V) after each row's last."""
        if not any(new):  # rows that run alone and are finished
            return np.zeros((len(new), self.thinker.vocab_size), np.float32)
        group.ids = [held + more for held, more in zip(group.ids, new, strict=True)]
        todo = new if group.cache is not None else group.ids
        lengths = [len(row) for row in todo]
        width = max(lengths)
        ids = torch.tensor([row + [0] * (width - len(row)) for row in todo], device=self._device)
        ragged = None if min(lengths) == width else lengths
        if any(token < 0 for row in todo for token in row):
            embeds = self._embed(ids)
            output = self.thinker(embeds=embeds, cache=group.cache, lengths=ragged, last_only=True)
        else:
            output = self.thinker(ids, cache=group.cache, lengths=ragged, last_only=True)
        if self._keeps_hidden:
            last = torch.tensor(lengths, device=self._device).sub(1).clamp(min=0)
            group.hidden = output.hidden[torch.arange(len(new), device=self._device), last]
        logits: Tensor = output.logits[:, -1].float().cpu()
        return logits.numpy()

    def _embed(self, ids: Tensor) -> Tensor:
        """(B,T) ids, some of them soft -> (B,T,D)."""
        assert self._soft is not None, "negative ids come from remember"
        embeds = self.thinker.embed(ids.clamp(min=0))
        row, place = (ids < 0).nonzero(as_tuple=True)
        embeds[row, place] = self._soft[FIRST_MEDIA_ID - ids[row, place]]
        return embeds


def _shared(held: Sequence[int], prompt: Sequence[int]) -> int:
    """How many tokens of ``prompt`` need not be run again: all that begin alike, but never its last."""
    limit = min(len(held), len(prompt) - 1)
    return next((place for place in range(limit) if held[place] != prompt[place]), limit)
