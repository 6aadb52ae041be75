"""Held-out text as a Thinker is measured on it, whatever runs it. Knows windows, masks and bytes, no model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.data.shards import Stream
from muomni_cli.data.windows import Mixture, Window


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Every token of some streams, once and in order.

    Args:
        streams: of tokens.
        tokenizer: which made them.
        length: of a window, in targets.
        batch_size: windows at a time.
        batches: so many of them, the first; 0 for all.
    """

    streams: Sequence[Stream]
    tokenizer: Tokenizer
    length: int
    batch_size: int
    batches: int = 0

    def windows(self) -> Iterator[Window]:
        """Batches of windows."""
        cut = Mixture(self.streams, [1.0] * len(self.streams)).windows(self.length)
        return itertools.islice(cut.every(self.batch_size), self.batches or None)

    def measure(self, nats: Callable[[Window], Any]) -> dict[str, float]:
        """``loss`` in nats a token, ``perplexity``, and ``bits_per_byte``: nats of all targets over their bytes.

        Args:
            nats: of the targets of a batch that count, summed: a number, or whatever adds up to one (a tensor on a
                device is waited for once, at the end).
        """
        spelt = bytes_per_token(self.tokenizer)
        total, tokens, size = 0.0, 0, 0
        for window in self.windows():
            counted = window.mask.astype(bool)
            total = nats(window) + total
            tokens += int(counted.sum())
            size += int(spelt[window.tokens[:, 1:]][counted].sum())
        loss = float(total) / max(tokens, 1)
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": float(total) / math.log(2) / max(size, 1),
        }


def bytes_per_token(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """(V,) how many bytes of text each token stands for; 0 for special tokens."""
    return np.array([len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocab_size)], dtype=np.int64)


def nats_of(logits: NDArray[np.floating], targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """(T,V) logits and (T,) targets -> (T,) cross-entropies."""
    scores = logits.astype(np.float64)
    peak = scores.max(1)
    chosen = scores[np.arange(len(targets)), targets]
    nats: NDArray[np.float64] = peak + np.log(np.exp(scores - peak[:, None]).sum(1)) - chosen
    return nats
