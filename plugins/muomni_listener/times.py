"""When each character of a text was said, finer than the encoder's tokens. Knows scores and samples, no torch.

A character's place is the mean of all tokens that may have said it, weighed by how likely each did: forward and
backward over all ways to say the text, so it lies between tokens. Where one character ends and the next begins is
half-way between their places; CTC's spikes tell no more. A pause is heard in the sound itself: it is the longest quiet
stretch between the words that it parts. Without one a space takes no time.

Shapes: T tokens, C classes, L characters, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muomni_listener.ctc import BLANK

_NEVER = -np.inf

STEP = 0.005
"""Seconds between two measurements of loudness."""

AROUND = 0.01
"""Seconds before and after that are measured: a period of the lowest voices."""

BELOW = 32.0
"""dB below the loudest twentieth of a sound, from where on it is quiet."""

ABOVE, LEAST = 6.0, 15.0
"""In a noisy sound, what lies within so many dB of its quietest twentieth is quiet, and LEAST dB below the loudest."""

PAUSE, MARKED_PAUSE = 0.12, 0.06
"""Shortest pause in seconds where the text has but a space, and where it has a mark: stops such as p, t and k are
silent for nearly a tenth of a second."""


def places(scores: NDArray[np.floating], classes: Sequence[int]) -> NDArray[np.float64]:
    """(L,) at which token each of ``classes`` was said, on average over all ways to say exactly them.

    Args:
        scores: (T,C) log-probabilities; T must suffice (see :func:`muomni_listener.ctc.needed`).
        classes: at least one, none the blank.
    """
    states = np.full(2 * len(classes) + 1, BLANK)  # blank, character, blank, character, ..., blank
    states[1::2] = classes
    skips = np.zeros(states.size, bool)  # a character may follow another directly if they differ
    skips[3::2] = states[3::2] != states[1:-2:2]
    said = np.asarray(scores, np.float64)[:, states]
    before = _ways(said, skips)
    after = _ways(said[::-1, ::-1], np.roll(skips[::-1], 2))[::-1, ::-1]  # from the end backwards it is the same
    likely = before + after - said  # each token's own score is in both
    likely = np.exp(likely - np.logaddexp.reduce(likely, axis=1, keepdims=True))[:, 1::2]
    centres = (likely * np.arange(len(said))[:, None]).sum(0) / np.maximum(likely.sum(0), 1e-300)
    return np.maximum.accumulate(centres)


def _ways(said: NDArray[np.float64], skips: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T,2L+1) log-probability of all beginnings that are in a state at a token."""
    ways = np.full(said.shape, _NEVER)
    ways[0, :2] = said[0, :2]
    closed = np.where(skips, 0.0, _NEVER)
    options = np.full((3, said.shape[1]), _NEVER)
    for t in range(1, len(said)):
        options[0], options[1, 1:], options[2, 2:] = ways[t - 1], ways[t - 1, :-1], ways[t - 1, :-2] + closed[2:]
        ways[t] = np.logaddexp.reduce(options, axis=0) + said[t]
    return ways


@dataclass(frozen=True, slots=True)
class Quiet:
    """Where a sound is quiet: ``begins`` and ``ends`` in seconds, in order. ``seconds``: of the whole sound."""

    begins: NDArray[np.floating]
    ends: NDArray[np.floating]
    seconds: float

    def longest(self, since: float, until: float) -> tuple[float, float]:
        """The longest quiet stretch between two times; empty, in their middle, if there is none."""
        begins, ends = self.begins.clip(since, until), self.ends.clip(since, until)
        if not begins.size or (ends - begins).max() <= 0:
            return (since + until) / 2, (since + until) / 2
        which = int((ends - begins).argmax())
        return float(begins[which]), float(ends[which])


def quiet(wave: NDArray[np.floating], rate: int) -> Quiet:
    """Where a sound, (N,) samples, is quiet against itself."""
    around = max(1, round(AROUND * rate))
    power = np.pad(np.square(wave, dtype=np.float64), around)
    total = np.concatenate([[0.0], np.cumsum(power)])
    centres = (np.arange(int(len(wave) / (STEP * rate)) + 1) * STEP * rate).astype(np.int64)
    loudness = 10 * np.log10((total[centres + 2 * around] - total[centres]).clip(0) / (2 * around) + 1e-10)
    lowest, highest = np.percentile(loudness, [5, 95])
    below = max(highest - BELOW, min(lowest + ABOVE, highest - LEAST))
    turns = np.diff(np.concatenate([[0], (loudness < below).astype(np.int8), [0]]))
    return Quiet(np.flatnonzero(turns == 1) * STEP, np.flatnonzero(turns == -1) * STEP, len(wave) / rate)


def edges(
    centres: NDArray[np.float64], spaces: NDArray[np.bool_], marked: NDArray[np.bool_], silence: Quiet
) -> NDArray[np.float64]:
    """(L+1,) seconds at which each character begins, and the last one ends; what no text is said in lies outside.

    Args:
        centres: (L,) where each character is, in seconds, in order.
        spaces: (L,) which are spaces; the first and the last are none.
        marked: (L,) which of them stand for marks too, such as a comma.
        silence: of the sound.
    """
    found = np.empty(len(centres) + 1)
    found[1:-1] = (centres[:-1] + centres[1:]) / 2
    for place in np.flatnonzero(spaces[1:-1]) + 1:
        begin, end = silence.longest(centres[place - 1], centres[place + 1])
        if end - begin < (MARKED_PAUSE if marked[place] else PAUSE):
            begin = end = centres[place - 1 : place + 2].mean()
        found[place], found[place + 1] = begin, end
    usual = float(np.median(np.diff(centres))) if len(centres) > 1 else 2 * STEP
    found[0], found[-1] = _first(centres[0], usual, silence), _last(centres[-1], usual, silence)
    return np.maximum.accumulate(found.clip(0.0, silence.seconds))


def _first(centre: float, usual: float, silence: Quiet) -> float:
    """When speech begins whose first character is at ``centre``: after the silence before it."""
    before = silence.ends[silence.begins < centre]
    return min(float(before[-1]), centre) if before.size else centre - usual / 2


def _last(centre: float, usual: float, silence: Quiet) -> float:
    """When speech ends whose last character is at ``centre``: where it falls silent for long, or for good."""
    lasting = (silence.ends - silence.begins >= PAUSE) | (silence.ends >= silence.seconds - STEP)
    after = silence.begins[(silence.ends > centre) & lasting]
    return max(float(after[0]), centre) if after.size else centre + usual
