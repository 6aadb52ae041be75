"""How any Thinker learns from text alone: the next token of every window. What a ``ThinkerPart`` trains by if it names
nothing else.

Knows the Thinker's protocol, windows of tokens and their masks, not files, optimisers or devices.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, Loss, Sample, Thinker, Tokenizer
from muomni_cli.data.windows import Mixture, Window
from muomni_cli.training.cross_entropy import IGNORED, summed_cross_entropy

if TYPE_CHECKING:
    from muomni_cli.training.context import StageContext


class NextToken:
    """An :class:`muomni_cli.api.Objective`: cross-entropy of the next token at every position of a window."""

    unit = "tokens"

    def __init__(self, thinker: Thinker, context: StageContext) -> None:
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
        self._held_out = Mixture(data.val, [1.0] * len(data.val)).windows(length)
        self._bytes = bytes_per_token(context.tokenizer())

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
        """``loss`` in nats a token, ``perplexity``, and ``bits_per_byte``: nats of all targets over their bytes."""
        device = self._thinker.head_weight.device
        nats, tokens, size = torch.zeros((), dtype=torch.float64, device=device), 0.0, 0
        was_training = self.module.training
        self.module.eval()
        with torch.no_grad():
            for window in self._validation_windows():
                batch = to_batch(window.tokens, window.mask)
                nats += summed_loss(self._thinker, {k: v.to(device) for k, v in batch.tensors.items()})
                tokens += batch.weight
                size += int(self._bytes[window.tokens[:, 1:]][window.mask.astype(bool)].sum())
        self.module.train(was_training)
        loss = nats.item() / max(tokens, 1.0)
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": nats.item() / math.log(2) / max(size, 1),
        }

    def _validation_windows(self) -> Iterator[Window]:
        """The held-out windows in order, all of them or the first ``val_batches`` batches."""
        return itertools.islice(self._held_out.every(self._settings.batch_size), self._settings.val_batches or None)

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A continuation of each prompt the recipe names."""
        prompts = list(self._settings.sample_prompts)
        if not prompts:
            return
        texts = self._context.generate(self._thinker, prompts, self._settings.sample_tokens)
        for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True), start=1):
            yield Sample(f"{number}.txt", f"{prompt}{text}\n")


def bytes_per_token(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """(V,) how many bytes of text each token stands for; 0 for special tokens."""
    return np.array([len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size)], dtype=np.int64)


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
