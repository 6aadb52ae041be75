"""Golden outputs of a bundle: what PyTorch computed when it was made, and the distance of two outputs.

Inputs of each graph and some numbers of each output are kept in ``reference.npz``: ``part/graph/number/in/name``,
``part/graph/number/out/name`` (at most :data:`SPREAD` values from all over) and ``.../shape/name``. Whole answers
(greedy text, greedy code frames and their sound) are computed by PyTorch and by the graphs before a bundle is written,
and by the graphs again whenever it is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import RequestError, TextChunk, VoiceSettings
from muomni_cli.audio.dsp import log_mel
from muomni_cli.contract.models import Backend
from muomni_cli.contract.speech import ArrayStream, SpeechGenerator
from muomni_onnx.bundle import AGAIN, REFERENCE

Distance = Callable[["NDArray[Any]", "NDArray[Any]"], float]
"""From what should be and what is."""

LARGEST = 64_000
"""Bytes of inputs above which a case is not kept, unless it is a graph's first."""

SPREAD = 512

Arrays = Mapping[str, NDArray[Any]]

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


def absolute(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest difference of any number; infinite where shapes or types differ or one is NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    error = float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0))
    return error if np.isfinite(error) else float("inf")


def of_its_size(one: NDArray[Any], other: NDArray[Any]) -> float:
    """:func:`absolute`, in units of the usual size of ``one`` (its root mean square) where that is above 1: for states,
    which may sum up all that was read. What a wrong state does shows in what later calls give of it."""
    size = float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) if one.dtype.kind == "f" and one.size else 0.0
    error = absolute(one, other)
    return error / max(1.0, size) if np.isfinite(error) else error


def relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Of floats of any size, the length of the difference as a share of the length of ``one``; of whole numbers, the
    share that differs. Infinite where shapes differ or one is NaN."""
    if one.shape != other.shape or one.dtype.kind != other.dtype.kind:
        return float("inf")
    if not one.size:
        return 0.0
    if one.dtype.kind != "f":
        return float(np.mean(one != other))
    wrong, length = (float(np.linalg.norm(array.ravel())) for array in (one.astype(np.float64) - other, one))
    if not np.isfinite(wrong) or (wrong and not length):
        return float("inf")
    return wrong / length if wrong else 0.0


def forgiving(distance: Distance, max_mismatch_fraction: float) -> Distance:
    """``distance``, but 0 for whole numbers of which no larger share than ``max_mismatch_fraction`` differs."""

    def measured(one: NDArray[Any], other: NDArray[Any]) -> float:
        whole = (
            max_mismatch_fraction and one.shape == other.shape and one.dtype == other.dtype and one.dtype.kind in "iu"
        )
        return 0.0 if whole and float(np.mean(one != other)) <= max_mismatch_fraction else distance(one, other)

    return measured


def few(array: NDArray[Any]) -> NDArray[Any]:
    """At most :data:`SPREAD` of the values, always those at the same places."""
    flat = array.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(SPREAD, flat.size)).astype(int)] if flat.size else flat


def case_arrays(prefix: str, number: int, feeds: Arrays, expected: Arrays) -> dict[str, NDArray[Any]]:
    """What is kept of case ``number``; nothing where it is too large. ``prefix``: ``part/graph``."""
    if number and sum(array.nbytes for array in feeds.values()) > LARGEST:
        return {}
    kept = {f"{prefix}/{number}/in/{name}": array for name, array in feeds.items()}
    for name, array in expected.items():
        kept[f"{prefix}/{number}/out/{name}"] = few(array)
        kept[f"{prefix}/{number}/shape/{name}"] = np.array(array.shape)
    return kept


def write_reference(root: Path, arrays: Arrays) -> None:
    """Write them all."""
    np.savez_compressed(root / REFERENCE, allow_pickle=False, **arrays)


class Reference:
    """The reference of a bundle. RequestError if it cannot be read."""

    def __init__(self, root: Path) -> None:
        try:
            with np.load(root / REFERENCE, allow_pickle=False) as saved:
                self._saved = dict(saved)
        except (OSError, ValueError, BadZipFile) as error:
            raise RequestError(f"{root / REFERENCE} cannot be read", AGAIN) from error

    def cases(self, prefix: str) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
        """Inputs, and for each output its shape and its few values joined as ``shape/name`` and ``out/name``."""
        numbers = {int(key.split("/")[2]) for key in self._saved if key.startswith(f"{prefix}/")}
        for number in sorted(numbers):
            begin = f"{prefix}/{number}/"
            own = {key.removeprefix(begin): array for key, array in self._saved.items() if key.startswith(begin)}
            feeds = {key.removeprefix("in/"): array for key, array in own.items() if key.startswith("in/")}
            yield feeds, {key: array for key, array in own.items() if not key.startswith("in/")}

    def get(self, name: str) -> NDArray[Any] | None:
        """An array of a whole answer; None where the model gives no such answer."""
        return self._saved.get(name)

    def listed(self, prefix: str) -> list[NDArray[Any]]:
        """``prefix/0``, ``prefix/1`` ..."""
        found: list[NDArray[Any]] = []
        while (array := self._saved.get(f"{prefix}/{len(found)}")) is not None:
            found.append(array)
        return found


@dataclass(frozen=True, slots=True)
class GoldenText:
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


def golden_text(backend: Backend[Any], prompt: NDArray[np.int64]) -> GoldenText:
    """The likeliest token, as often as the context allows."""
    count = min(TOKENS, backend.context - len(prompt))
    sampler = Greedy()
    state, logits = backend.begin([prompt.tolist()], len(prompt) + count)
    tokens = [sampler(logits[0])]
    while len(tokens) < count:
        tokens.append(sampler(backend.step(state, np.array(tokens[-1:], np.int64))[0]))
    return GoldenText(np.array(tokens, np.int64), np.array(sampler.gaps))


def golden_codes(talker: SpeechGenerator, thinker_width: int) -> list[GoldenText]:
    """The code frames of one sentence after the other, in the first and the last voice by turns, until there are
    enough. ``thinker_width``: of the thoughts that it hears with every other word."""
    names = list(dict.fromkeys([None, *talker.voices[-1:]]))
    told: list[GoldenText] = []
    for number, sentence in enumerate(SENTENCES * 2):
        left = FRAMES - sum(len(one.values) for one in told)
        if left <= 0:
            break
        sampler = Greedy()
        pieces = list(_thought_of(sentence, thinker_width, number))
        made = list(talker.speak(pieces, VoiceSettings(names[number % len(names)]), sampler))
        if made:
            values = np.concatenate(made)
            gaps = np.array(sampler.gaps).reshape(values.shape)
            told.append(GoldenText(values[:left].astype(np.int64), gaps[:left]))
    return told


def sounded(stream: ArrayStream, codes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(T,Q) codes, a few at a time -> (N,) samples."""
    pieces = [codes[begin : begin + PIECE] for begin in range(0, len(codes), PIECE)]
    return np.concatenate([*(stream.push(piece) for piece in pieces), stream.finish()]).astype(np.float32)


def heard_apart(samples: NDArray[np.float32], mel: NDArray[np.float32], settings: Any) -> float:
    """How far the log-mel of samples is from the one that was asked for: mean absolute difference, in nats."""
    heard = log_mel(samples, settings)
    frames = min(len(heard), len(mel))
    return float(np.abs(heard[:frames] - mel[:frames]).mean()) if frames else 0.0


def is_unchecked(entry: Mapping[str, Any]) -> bool:
    """Whether rounding decides what a part makes of a whole input, by what the manifest says of the part."""
    return any(graph.get("unchecked") for graph in entry["graphs"].values())


def agreeing(ours: Sequence[GoldenText], theirs: Sequence[GoldenText], allowed: float) -> tuple[int, int]:
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


def _undecided(theirs: GoldenText, same: NDArray[np.bool_], row: int, allowed: float) -> bool:
    """Whether the first choice that differs in ``row`` was between two that are as good."""
    gaps = theirs.gaps[row].reshape(-1)
    return bool(gaps[int(same[row].argmin())] <= 2 * allowed)


def _thought_of(sentence: str, width: int, seed: int) -> Iterator[TextChunk]:
    """The words of a sentence, every other one with a state of a Thinker."""
    random = np.random.default_rng(seed)
    for number, word in enumerate(sentence.split()):
        thought = random.standard_normal(width, np.float32) if width and number % 2 else None
        yield TextChunk(word + " ", thought)
