"""Connectionist temporal classification (Graves et al., ICML 2006) in numpy: decoding and alignment.

Class 0 is the blank, class 1 + i the i-th character of an alphabet. Scores are (T,C) natural log-probabilities of one
sound. Repeated classes are one character unless a blank separates them.

Times are finer than the encoder's tokens. A character's position is the expected token under the posterior of all
alignments (forward-backward). Boundaries lie half-way between positions, since CTC's spikes carry no duration. Pauses
are found in the waveform, as the longest quiet stretch between two words; without one a space takes no time.

Shapes: T tokens, C classes, L characters, N samples.
"""

from __future__ import annotations

import math
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray

BLANK = 0
_NEVER = -math.inf

STEP = 0.005  # seconds between two measurements of loudness
AROUND = 0.01  # half the width of a loudness measurement in seconds: a period of the lowest voices
BELOW = 34.0  # dB below the loudest 2 % of a sound at which it counts as quiet
DEEP = 46.0
"""dB below the loudest 2 % that a clean sound's silence reaches. Speech starts where it rises above this, since f and
th are hardly louder than BELOW; the end of speech may have reverberation and uses BELOW."""

ABOVE, LEAST = 6.0, 15.0
"""In a noisy sound, quiet is within ABOVE dB of the quietest 5 % and at least LEAST dB below the loudest 2 %."""

PAUSE, MARKED_PAUSE = 0.12, 0.06
"""Shortest pause in seconds at a plain space, and at punctuation: stops such as p, t and k are silent for nearly a
tenth of a second."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The characters of transcripts."""

    characters: str

    @property
    def classes(self) -> int:
        """C: the characters and the blank."""
        return 1 + len(self.characters)

    def spell(self, text: str) -> str:
        """Normalize ``text``: lower case, accents dropped unless in the alphabet, other characters as a space, single
        spaces."""
        return " ".join(self._known(text).split())

    def places(self, text: str) -> list[Spelled]:
        """The characters of :meth:`encode` with the span of ``text`` that each stands for: a run that becomes one
        space, a letter with its accents, or a ligature for each of its letters."""
        found: list[Spelled] = []
        for begin, end in _clusters(text):
            for character in self._known(text[begin:end]):
                if not character.isspace():
                    found.append(Spelled(character, begin, end))
                elif found and found[-1].character == " ":
                    found[-1] = Spelled(" ", found[-1].begin, end)
                elif found:
                    found.append(Spelled(" ", begin, end))
        if found and found[-1].character == " ":
            found.pop()
        return [one for one in found if one.character in self.characters]

    def _known(self, text: str) -> str:
        """``text`` in characters of the alphabet, and spaces for others."""
        found = ""
        for one in unicodedata.normalize("NFKC", text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).casefold():
            parts = [one] if one in self.characters else unicodedata.normalize("NFKD", one)
            kept = "".join(part for part in parts if part in self.characters)
            found += kept or ("" if unicodedata.combining(one) else " ")
        return found

    def encode(self, text: str) -> list[int]:
        """Classes of the normalized ``text``."""
        return self.classes_of(self.spell(text))

    def classes_of(self, spelled: Iterable[str]) -> list[int]:
        """Classes of characters; unknown ones are dropped."""
        return [1 + self.characters.index(character) for character in spelled if character in self.characters]

    def decode(self, classes: Sequence[int]) -> str:
        """Text of classes, without blanks."""
        return "".join(self.characters[index - 1] for index in classes if index != BLANK)


@dataclass(frozen=True, slots=True)
class Spelled:
    """A character of an alphabet and the span ``begin`` to ``end`` (exclusive) of the text it stands for."""

    character: str
    begin: int
    end: int


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Spans of ``text`` that normalize (NFKC) independently of each other."""
    begin = 0
    for end in range(1, len(text) + 1):
        here = text[begin:end]
        if end < len(text):
            if unicodedata.combining(text[end]):
                continue
            both = unicodedata.normalize("NFKC", here + text[end])
            if both != unicodedata.normalize("NFKC", here) + unicodedata.normalize("NFKC", text[end]):
                continue
        yield begin, end
        begin = end


@dataclass(frozen=True, slots=True)
class Mark:
    """One decoded character: its class, and its tokens ``begin`` to ``end`` (exclusive)."""

    symbol: int
    begin: int
    end: int


def needed(classes: Sequence[int]) -> int:
    """Fewest tokens that can spell ``classes``: one each, and a blank between equal neighbors."""
    return len(classes) + sum(one == other for one, other in pairwise(classes))


def greedy(scores: NDArray[np.floating]) -> list[Mark]:
    """Best-path decoding: the best class of every token, repeats merged and blanks dropped."""
    classes = scores.argmax(1).tolist()
    return marks(classes, classes)


def prefix_beam(scores: NDArray[np.floating], width: int = 16, narrow: float = 12.0) -> list[tuple[list[int], float]]:
    """Prefix beam search (Hannun et al., arXiv:1408.2873).

    Args:
        scores: (T,C).
        width: beam width.
        narrow: classes further than this below a token's best are pruned.

    Returns:
        Up to ``width`` texts as classes with their log-probability over all alignments, best first.
    """
    tree = _Tree()
    beams = {0: (0.0, _NEVER)}  # text -> log-probability of ending in a blank, and in its last character
    for row in scores.tolist():
        lowest = max(row) - narrow
        tried = [(symbol, score) for symbol, score in enumerate(row) if score >= lowest]
        grown = _grown(beams, tried, tree)
        beams = dict(sorted(grown.items(), key=lambda beam: -_add(*beam[1]))[:width])
    return [(tree.text(node), _add(*ends)) for node, ends in beams.items()]


def _grown(
    beams: Mapping[int, tuple[float, float]], tried: Sequence[tuple[int, float]], tree: _Tree
) -> dict[int, tuple[float, float]]:
    """Extend all ``beams`` by one token of the classes ``tried``."""
    grown: dict[int, tuple[float, float]] = {}

    def count(node: int, blank: float, spoken: float) -> None:
        if max(blank, spoken) > _NEVER:
            before = grown.get(node, (_NEVER, _NEVER))
            grown[node] = _add(before[0], blank), _add(before[1], spoken)

    for node, (blank, spoken) in beams.items():
        either = _add(blank, spoken)
        for symbol, score in tried:
            if symbol == BLANK:
                count(node, either + score, _NEVER)
            elif symbol != tree.symbols[node]:
                count(tree.child(node, symbol), _NEVER, either + score)
            else:  # the same character continues, or repeats after a blank
                count(node, _NEVER, spoken + score)
                count(tree.child(node, symbol), _NEVER, blank + score)
    return grown


class _Tree:
    """A prefix tree of texts; node 0 is the empty text."""

    def __init__(self) -> None:
        self.parents, self.symbols = [0], [BLANK]
        self._children: dict[tuple[int, int], int] = {}

    def child(self, node: int, symbol: int) -> int:
        found = self._children.setdefault((node, symbol), len(self.parents))
        if found == len(self.parents):
            self.parents.append(node)
            self.symbols.append(symbol)
        return found

    def text(self, node: int) -> list[int]:
        found: list[int] = []
        while node:
            found.append(self.symbols[node])
            node = self.parents[node]
        return found[::-1]


def log_probabilities(scores: NDArray[np.floating], texts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """(T,C) scores and n texts as classes -> (n,) log-probability of each text over all alignments, ``-inf`` if there
    are too few tokens."""
    states, skips = _lattice(texts)
    said = (row[states] for row in np.asarray(scores, np.float64))
    ways = deque(_forward(said, skips), maxlen=1)[0]  # after the last token
    sizes, rows = np.array([len(text) for text in texts], np.int64), np.arange(len(texts))
    last = ways[rows, 2 * sizes]
    return np.where(sizes > 0, np.logaddexp(last, ways[rows, 2 * sizes - 1]), last)


def choose(scores: NDArray[np.floating], texts: Sequence[Sequence[int]]) -> int:
    """Index of the likeliest of ``texts``, for a closed vocabulary."""
    return int(log_probabilities(scores, texts).argmax())


def align(scores: NDArray[np.floating], classes: Sequence[int]) -> list[Mark]:
    """Forced alignment of ``classes`` by Viterbi. Raises ValueError: there are too few tokens."""
    if needed(classes) > len(scores):
        raise ValueError(f"{len(scores)} tokens cannot say {len(classes)} characters, {needed(classes)} are needed")
    (states,), (skips,) = _lattice([classes])
    best = np.full(states.size, _NEVER)
    best[:2] = scores[0, states[:2]]
    came = np.zeros((len(scores), states.size), np.int8)
    for t in range(1, len(scores)):
        options = np.full((3, states.size), _NEVER)
        options[0], options[1, 1:] = best, best[:-1]
        options[2, 2:] = np.where(skips[2:], best[:-2], _NEVER)
        came[t] = options.argmax(0)
        best = options.max(0) + scores[t, states]
    place = states.size - 1 - int(states.size > 1 and best[-2] >= best[-1])
    path = [place]
    for t in range(len(scores) - 1, 0, -1):
        place -= int(came[t, place])
        path.append(place)
    path.reverse()
    return marks(states[path].tolist(), path)


def marks(classes: Sequence[int], states: Sequence[int]) -> list[Mark]:
    """Runs of equal ``states``, one mark each, without blanks."""
    found, begin = [], 0
    for _, run in groupby(states):
        end = begin + len(list(run))
        if classes[begin] != BLANK:
            found.append(Mark(classes[begin], begin, end))
        begin = end
    return found


def _lattice(texts: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n,S) states of the alignments of n texts (blank, character, blank, ..., blank), and which need no blank before
    them: characters that differ from the one before."""
    states = np.full((len(texts), 2 * max(map(len, texts), default=0) + 1), BLANK, np.int64)
    for row, text in zip(states, texts, strict=True):
        row[1 : 2 * len(text) : 2] = text
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    return states, skips


def _forward(said: Iterable[NDArray[np.float64]], skips: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    """Log-probabilities of all ways to each state, before the first token (as if a blank had come) and after every
    token; ``said`` has the tokens' scores of each state, in the shape of ``skips``."""
    ways = np.full(skips.shape, _NEVER)
    ways[..., 0] = 0.0
    yield ways
    closed = np.where(skips, 0.0, _NEVER)[..., 2:]
    options = np.full((3, *skips.shape), _NEVER)
    for row in said:
        options[0], options[1, ..., 1:], options[2, ..., 2:] = ways, ways[..., :-1], ways[..., :-2] + closed
        ways = np.logaddexp.reduce(options, axis=0) + row
        yield ways


def _add(one: float, other: float) -> float:
    """log(exp(one) + exp(other))."""
    low, high = (one, other) if one < other else (other, one)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))


def places(scores: NDArray[np.floating], classes: Sequence[int]) -> NDArray[np.float64]:
    """(L,) expected token of each character, over all alignments.

    Args:
        scores: (T,C) log-probabilities of at least :func:`needed` tokens.
        classes: at least one, without blanks.
    """
    (states,), (skips,) = _lattice([classes])
    said = np.asarray(scores, np.float64)[:, states]
    before = np.stack(list(_forward(said, skips)))[1:]
    # The backward pass is the mirrored forward pass.
    after = np.stack(list(_forward(said[::-1, ::-1], np.roll(skips[::-1], 2))))[1:][::-1, ::-1]
    likely = before + after - said  # both include the token's own score
    likely = np.exp(likely - np.logaddexp.reduce(likely, axis=1, keepdims=True))[:, 1::2]
    centers = (likely * np.arange(len(said))[:, None]).sum(0) / np.maximum(likely.sum(0), 1e-300)
    return np.maximum.accumulate(centers)


@dataclass(frozen=True, slots=True)
class Quiet:
    """Quiet stretches of a sound, ``begins`` and ``ends`` in seconds, and its length ``seconds``."""

    begins: NDArray[np.floating]
    ends: NDArray[np.floating]
    seconds: float

    def longest(self, since: float, until: float) -> tuple[float, float]:
        """The longest quiet stretch between two times; if there is none, an empty one in the middle."""
        begins, ends = self.begins.clip(since, until), self.ends.clip(since, until)
        if not begins.size or (ends - begins).max() <= 0:
            return (since + until) / 2, (since + until) / 2
        which = int((ends - begins).argmax())
        return float(begins[which]), float(ends[which])


def loudness(wave: NDArray[np.floating], rate: int) -> NDArray[np.float64]:
    """(N,) samples -> their power in dB of full scale at every :data:`STEP`, at least -100."""
    around = max(1, round(AROUND * rate))
    power = np.pad(np.square(wave, dtype=np.float64), around)
    total = np.concatenate([[0.0], np.cumsum(power)])
    centers = (np.arange(int(len(wave) / (STEP * rate)) + 1) * STEP * rate).astype(np.int64)
    levels: NDArray[np.float64] = (total[centers + 2 * around] - total[centers]).clip(0) / (2 * around)
    return 10 * np.log10(levels + 1e-10)


def quiet(wave: NDArray[np.floating], rate: int) -> Quiet:
    """Quiet stretches of (N,) samples, relative to the sound's own loudness."""
    levels = loudness(wave, rate)
    lowest, highest = np.percentile(levels, [5, 98])
    below = max(highest - BELOW, min(lowest + ABOVE, highest - LEAST))
    turns = np.diff(np.concatenate([[0], (levels < below).astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(turns == 1), np.flatnonzero(turns == -1)
    deep = np.flatnonzero(levels < highest - DEEP)
    last = deep[(np.searchsorted(deep, ends) - 1).clip(0)] if deep.size else begins - 1
    ends = np.where((last >= begins) & (last < ends), last + 1, ends)
    return Quiet(begins * STEP, ends * STEP, len(wave) / rate)


def edges(
    centers: NDArray[np.float64], spaces: NDArray[np.bool_], marked: NDArray[np.bool_], silence: Quiet
) -> NDArray[np.float64]:
    """(L+1,) seconds at which each character begins and the last one ends.

    Args:
        centers: (L,) positions of the characters in seconds, in order.
        spaces: (L,) which are spaces; not the first and the last.
        marked: (L,) which also stand for punctuation.
        silence: quiet stretches of the sound.
    """
    usual = float(np.median(np.diff(centers))) if len(centers) > 1 else 2 * STEP
    since, until = _first(centers[0], usual, silence), _last(centers[-1], usual, silence)
    centers = centers.clip(since, max(since, until))  # a spike may lie in the silence before its character
    found = np.empty(len(centers) + 1)
    found[0], found[1:-1], found[-1] = since, (centers[:-1] + centers[1:]) / 2, until
    for place in np.flatnonzero(spaces[1:-1]) + 1:
        begin, end = silence.longest(centers[place - 1], centers[place + 1])
        if end - begin < (MARKED_PAUSE if marked[place] else PAUSE):
            begin = end = centers[place - 1 : place + 2].mean()
        found[place], found[place + 1] = begin, end
    return np.maximum.accumulate(found.clip(0.0, silence.seconds))


def _first(center: float, usual: float, silence: Quiet) -> float:
    """Start of speech whose first character is at ``center``: after the silence before it."""
    before = silence.begins < center
    if not before.any():
        return max(0.0, center - usual / 2)
    begin, end = float(silence.begins[before][-1]), float(silence.ends[before][-1])
    return end if begin <= STEP else min(end, center)


def _last(center: float, usual: float, silence: Quiet) -> float:
    """End of speech whose last character is at ``center``: the next long or final silence."""
    for_good = silence.ends >= silence.seconds - 2 * STEP
    after = (silence.ends > center) & (for_good | (silence.ends - silence.begins >= PAUSE))
    if not after.any():
        return min(silence.seconds, center + usual)
    begin = float(silence.begins[after][0])
    return begin if for_good[after][0] else max(begin, center)
