"""Whole answers, the same each time: greedy text, greedy code frames, and the sound of them. Whoever answers.

Both sides of the gate answer them before a bundle is written, and the bundle answers them again whenever it is checked.
Knows no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Manner, Said
from muomni_cli.contract.backend import Backend
from muomni_cli.contract.speech import Flow, Speaks
from muomni_cli.sound.log_mel import log_mel

TOKENS = 128
"""Most tokens of the answer in text."""
FRAMES = 300
"""Most frames of the answer in codes."""
PIECE = 7
"""Code frames that are sounded at a time."""
SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "One two three four five six seven eight nine ten.",
    "What is red and round? It costs $5, or more!",
    "A yellow circle lies to the left of a small blue square.",
    "She said that 12 of them had gone home by half past eight.",
    "No.",
)


@dataclass(frozen=True, slots=True)
class Told:
    """What was chosen, always the likeliest: ``values`` (n,), or (n,Q) of code frames, and by how much each was
    likelier than the next one: ``gaps``, of the same shape."""

    values: NDArray[np.int64]
    gaps: NDArray[np.float64]


class Greedy:
    """Chooses the likeliest, and keeps by how much."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    def __call__(self, logits: NDArray[Any]) -> int:
        """(K,) logits -> the place of the largest."""
        two = np.partition(logits, -2)[-2:] if logits.size > 1 else np.array([0.0, math.inf])
        self.gaps.append(float(two[1] - two[0]))
        return int(logits.argmax())


def prompt_for(vocabulary: int, context: int) -> NDArray[np.int64]:
    """A few random tokens to begin with."""
    return np.random.default_rng(0).integers(0, vocabulary, min(4, context // 2))


def told_text(backend: Backend[Any], prompt: NDArray[np.int64]) -> Told:
    """The likeliest token, as often as the context allows."""
    count = min(TOKENS, backend.context - len(prompt))
    choose = Greedy()
    state, logits = backend.begin([prompt.tolist()], len(prompt) + count)
    tokens = [choose(logits[0])]
    while len(tokens) < count:
        tokens.append(choose(backend.step(state, np.array(tokens[-1:], np.int64))[0]))
    return Told(np.array(tokens, np.int64), np.array(choose.gaps))


def told_codes(talker: Speaks, thinker_width: int) -> list[Told]:
    """The code frames of one sentence after the other, in the first and the last voice by turns, until there are
    enough. ``thinker_width``: of the thoughts that it hears with every other word."""
    names = list(dict.fromkeys([None, *talker.voices[-1:]]))
    told: list[Told] = []
    for number, sentence in enumerate(SENTENCES * 2):
        left = FRAMES - sum(len(one.values) for one in told)
        if left <= 0:
            break
        choose = Greedy()
        pieces = list(_thought_of(sentence, thinker_width, number))
        made = list(talker.speak(pieces, Manner(names[number % len(names)]), choose))
        if made:
            values = np.concatenate(made)
            gaps = np.array(choose.gaps).reshape(values.shape)
            told.append(Told(values[:left].astype(np.int64), gaps[:left]))
    return told


def sounded(flow: Flow, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(T,Q) codes, a few at a time -> (N,) samples."""
    pieces = [codes[begin : begin + PIECE] for begin in range(0, len(codes), PIECE)]
    return np.concatenate([*(flow.push(piece) for piece in pieces), flow.finish()]).astype(np.float32)


def heard_apart(samples: NDArray[np.float32], mel: NDArray[np.float32], settings: Any) -> float:
    """How far the log-mel of samples is from the one that was asked for: mean absolute difference, in nats."""
    heard = log_mel(samples, settings)
    frames = min(len(heard), len(mel))
    return float(np.abs(heard[:frames] - mel[:frames]).mean()) if frames else 0.0


def is_loose(entry: Mapping[str, Any]) -> bool:
    """Whether rounding decides what a part makes of a whole input, by what the manifest says of the part."""
    return any(graph.get("loose") for graph in entry["graphs"].values())


def agreeing(ours: Sequence[Told], theirs: Sequence[Told], allowed: float) -> tuple[int, int]:
    """How many rows are equal, and how many were to be. Where both sides differ first and ``theirs`` was undecided
    (its two best within twice what each logit is ``allowed`` to differ), nothing after it is asked for."""
    equal = asked = 0
    for one, other in zip(ours, theirs, strict=True):
        count = min(len(one.values), len(other.values))
        same = (one.values[:count] == other.values[:count]).reshape(count, -1)
        right = int(same.all(1).argmin()) if not same.all() else count
        equal += right
        if right == len(one.values) == len(other.values) or (right < count and _undecided(other, same, right, allowed)):
            asked += right
        else:
            asked += max(len(one.values), len(other.values))
    return equal, asked


def _undecided(theirs: Told, same: NDArray[np.bool_], row: int, allowed: float) -> bool:
    """Whether the first choice that differs in ``row`` was between two that are as good."""
    gaps = theirs.gaps[row].reshape(-1)
    return bool(gaps[int(same[row].argmin())] <= 2 * allowed)


def _thought_of(sentence: str, width: int, seed: int) -> Iterator[Said]:
    """The words of a sentence, every other one with a state of a Thinker."""
    random = np.random.default_rng(seed)
    for number, word in enumerate(sentence.split()):
        thought = random.standard_normal(width, np.float32) if width and number % 2 else None
        yield Said(word + " ", thought)
