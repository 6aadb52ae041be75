"""Trigram language models for the recognizer, in the ARPA format.

The probability of a word after a history mixes what followed it there with what follows its shorter history, the less
sure the more different words followed (Witten and Bell, 1991):

    p(w | h) = (c(h w) + t(h) p(w | h')) / (c(h) + t(h))        c counts, t(h) kinds of words seen after h

so every history has a share t(h) / (c(h) + t(h)) left for words never seen after it, which is the ARPA back-off weight.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

ORDER = 3
BEGIN, END = "<s>", "</s>"
NEVER = -99.0
"""What ARPA files write for log10 of 0."""

Gram = tuple[str, ...]


def arpa(sentences: Iterable[Sequence[str]], order: int = ORDER) -> str:
    """A back-off model of ``sentences``, each a list of words, as the text of an ARPA file."""
    model = _Model(sentences, order)
    grams = [sorted(model.words if size == 1 else model.counts[size]) for size in range(1, order + 1)]
    first = [(BEGIN,), *grams[0]]
    lines = ["\\data\\", f"ngram 1={len(first)}"]
    lines += [f"ngram {size}={len(own)}" for size, own in enumerate(grams[1:], start=2)]
    for size, own in enumerate([first, *grams[1:]], start=1):
        lines += ["", f"\\{size}-grams:"]
        lines += [_line(model, gram, size < order) for gram in own]
    return "\n".join([*lines, "", "\\end\\", ""])


def _line(model: _Model, gram: Gram, shorter: bool) -> str:
    log = NEVER if gram == (BEGIN,) else math.log10(model.probability(gram))
    left = f"\t{math.log10(model.left(gram)):.6f}" if shorter and model.seen[gram] else ""
    return f"{log:.6f}\t{' '.join(gram)}{left}"


class _Model:
    """Counts, and the formula."""

    def __init__(self, sentences: Iterable[Sequence[str]], order: int) -> None:
        self.counts: dict[int, Counter[Gram]] = {size: Counter() for size in range(1, order + 1)}
        for words in sentences:
            row = (BEGIN, *words, END)
            for size, counter in self.counts.items():
                counter.update(row[end - size : end] for end in range(max(size, 2), len(row) + 1))
        self.seen: Counter[Gram] = Counter()
        """Words after each history, c(h)."""
        self.kinds: Counter[Gram] = Counter()
        """Different words after each history, t(h)."""
        for counter in self.counts.values():
            for gram, count in counter.items():
                self.seen[gram[:-1]] += count
                self.kinds[gram[:-1]] += 1
        self.words = self.counts[1]

    def left(self, history: Gram) -> float:
        """The share of words never seen after ``history``."""
        return self.kinds[history] / (self.seen[history] + self.kinds[history])

    def probability(self, gram: Gram) -> float:
        """Of the last word after the others. A word that is known at all is never impossible."""
        if not gram:
            return 1 / len(self.words)
        history = gram[:-1]
        total = self.seen[history] + self.kinds[history]
        return (self.counts[len(gram)][gram] + self.kinds[history] * self.probability(gram[1:])) / total
