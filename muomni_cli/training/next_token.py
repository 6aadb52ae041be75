"""How any Thinker learns from text alone: the next token of every window. What a ``ThinkerPart`` trains by if it names
nothing else.

Knows the Thinker's protocol, windows of tokens and their masks, not files, optimisers or devices.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.models import Thinker
from muomni_cli.contract.training import Batch, Loss, Sample
from muomni_cli.data.held_out import HeldOut
from muomni_cli.data.windows import Window
from muomni_cli.training.cross_entropy import IGNORED, summed_cross_entropy

if TYPE_CHECKING:
    from muomni_cli.training.context import TrainingContext


class NextToken:
    """An :class:`muomni_cli.api.Objective`: cross-entropy of the next token at every position of a window."""

    unit = "tokens"

    def __init__(self, thinker: Thinker, context: TrainingContext) -> None:
        assert isinstance(thinker, nn.Module)
        self.module: nn.Module = thinker
        self.blocks = list(thinker.blocks)
        self.adam_only = frozenset(thinker.tables)
        self._thinker = thinker
        self._context = context
        self._settings = context.settings
        data = context.text()
        length = int(thinker.config.ctx_len)
        self._windows = data.train.windows(length, context.seed)
        settings = context.settings
        self._held_out = HeldOut(data.val, context.tokenizer(), length, settings.batch_size, settings.val_batches)

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's ``batch_size`` windows: ``ids`` and ``targets``, (B,T) each."""
        window = self._windows.take(step, self._settings.batch_size)
        rows = len(window.tokens)
        shares = self._settings.accumulate
        return to_batch(window.tokens, window.mask, slice(rows * micro // shares, rows * (micro + 1) // shares))

    def loss(self, batch: Batch) -> Loss:
        """Nats, summed over the batch's targets."""
        return Loss(summed_loss(self._thinker, batch.tensors))

    def validate(self) -> dict[str, float]:
        """See :meth:`muomni_cli.data.held_out.HeldOut.measure`."""
        was_training = self.module.training
        self.module.eval()
        with torch.no_grad():
            found = self._held_out.measure(self._nats)
        self.module.train(was_training)
        return found

    def _nats(self, window: Window) -> Tensor:
        """Of all that is to be said in a batch of windows."""
        device = self._thinker.head_weight.device
        batch = to_batch(window.tokens, window.mask)
        return summed_loss(self._thinker, {k: v.to(device) for k, v in batch.tensors.items()}).double()

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A continuation of each prompt the recipe names."""
        prompts = list(self._settings.sample_prompts)
        if not prompts:
            return
        texts = self._context.generate(self._thinker, prompts, self._settings.sample_tokens)
        for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True), start=1):
            yield Sample(f"{number}.txt", f"{prompt}{text}\n")


def to_batch(tokens: NDArray[np.integer], mask: NDArray[np.generic], rows: slice = slice(None)) -> Batch:
    """(B,T+1) tokens and (B,T) mask of what counts -> the chosen rows as inputs and targets."""
    chosen = torch.from_numpy(tokens[rows].astype(np.int64))
    counted = mask[rows].astype(bool)
    targets = chosen[:, 1:].masked_fill(torch.from_numpy(~counted), IGNORED)
    ids = chosen[:, :-1].contiguous()
    return Batch({"ids": ids, "targets": targets}, weight=float(counted.sum()), items=ids.numel())


def summed_loss(thinker: Thinker, tensors: dict[str, Tensor]) -> Tensor:
    """Cross-entropy in fp32, summed over the targets that count."""
    return summed_cross_entropy(thinker.hidden(tensors["ids"]), thinker.head_weight, tensors["targets"])
