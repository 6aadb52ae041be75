"""Golden outputs of a bundle: what PyTorch computed at export, and distances between outputs.

``reference.npz`` holds the inputs of each graph's cases and a sample of each output: ``part/graph/number/in/name``,
``part/graph/number/out/name`` (at most 512 values) and ``.../shape/name``. End-to-end outputs (greedy text,
greedy code frames and their sound) are compared with PyTorch at export, and with the saved ones at each check.
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
from muomni_cli.contract.speech import ArrayStream, MelSettings, SpeechGenerator
from muomni_onnx.bundle import AGAIN, REFERENCE
from muomni_onnx.sessions import Arrays

Distance = Callable[["NDArray[Any]", "NDArray[Any]"], float]
"""From the expected array and the computed one."""

LARGEST = 64_000  # bytes of inputs above which a case is not saved, unless it is a graph's first
SPREAD = 512  # most values saved of an output
TOKENS = 128  # most greedy tokens
FRAMES = 300  # most greedy code frames

SENTENCES = (
    "The quick brown fox jumps over the lazy dog, and then it sleeps.",
    "One two three four five six seven eight nine ten.",
    "What is red and round? It costs $5, or more!",
    "A yellow circle lies to the left of a small blue square.",
    "She said that 12 of them had gone home by half past eight.",
    "No.",
)


def absolute(one: NDArray[Any], other: NDArray[Any]) -> float:
    """The largest absolute difference; infinite where shapes or dtypes differ or one is NaN."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    error = float(np.max(np.abs(one.astype(np.float64) - other), initial=0.0))
    return error if np.isfinite(error) else float("inf")


def of_its_size(one: NDArray[Any], other: NDArray[Any]) -> float:
    """:func:`absolute` in units of the root mean square of ``one`` where that is above 1: for states, which may sum
    over all tokens. A wrong state shows in the outputs of later calls."""
    size = float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) if one.dtype.kind == "f" and one.size else 0.0
    error = absolute(one, other)
    return error / max(1.0, size) if np.isfinite(error) else error


def relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Floats: the norm of the difference relative to that of ``one``; integers: the share that differs. Infinite where
    shapes differ or one is NaN."""
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
    """``distance``, but 0 for integers of which at most ``max_mismatch_fraction`` differ."""

    def measured(one: NDArray[Any], other: NDArray[Any]) -> float:
        integers = one.shape == other.shape and one.dtype == other.dtype and one.dtype.kind in "iu"
        allowed = max_mismatch_fraction and integers and float(np.mean(one != other)) <= max_mismatch_fraction
        return 0.0 if allowed else distance(one, other)

    return measured


def few(array: NDArray[Any]) -> NDArray[Any]:
    """At most :data:`SPREAD` of the values, always at the same positions."""
    flat = array.reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(SPREAD, flat.size)).astype(int)] if flat.size else flat


def case_arrays(prefix: str, number: int, feeds: Arrays, expected: Arrays) -> dict[str, NDArray[Any]]:
    """The arrays to save for case ``number``, none if it is too large. ``prefix``: ``part/graph``."""
    if number and sum(array.nbytes for array in feeds.values()) > LARGEST:
        return {}
    kept = {f"{prefix}/{number}/in/{name}": array for name, array in feeds.items()}
    for name, array in expected.items():
        kept[f"{prefix}/{number}/out/{name}"] = few(array)
        kept[f"{prefix}/{number}/shape/{name}"] = np.array(array.shape)
    return kept


class Reference:
    """The saved outputs of a bundle. RequestError if they cannot be read."""

    def __init__(self, root: Path) -> None:
        try:
            with np.load(root / REFERENCE, allow_pickle=False) as saved:
                self._saved = dict(saved)
        except (OSError, ValueError, BadZipFile) as error:
            raise RequestError(f"{root / REFERENCE} cannot be read", AGAIN) from error

    def cases(self, prefix: str) -> Iterator[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
        """The inputs of each case, and its outputs as ``shape/name`` and ``out/name``."""
        numbers = {int(key.split("/")[2]) for key in self._saved if key.startswith(f"{prefix}/")}
        for number in sorted(numbers):
            begin = f"{prefix}/{number}/"
            own = {key.removeprefix(begin): array for key, array in self._saved.items() if key.startswith(begin)}
            feeds = {key.removeprefix("in/"): array for key, array in own.items() if key.startswith("in/")}
            yield feeds, {key: array for key, array in own.items() if not key.startswith("in/")}

    def get(self, name: str) -> NDArray[Any] | None:
        """An array of an end-to-end output; None if the model has no such output."""
        return self._saved.get(name)


@dataclass(frozen=True, slots=True)
class GoldenText:
    """Greedy choices: ``values`` (n,) tokens or (n,Q) codes, and ``gaps``, the margins between the two best logits, of
    the same shape."""

    values: NDArray[np.int64]
    gaps: NDArray[np.float64]


class Greedy:
    """Chooses the largest logit, and records its margin."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    def __call__(self, logits: NDArray[Any]) -> int:  # (K,)
        two = np.partition(logits, -2)[-2:] if logits.size > 1 else np.array([0.0, math.inf])
        self.gaps.append(float(two[1] - two[0]))
        return int(logits.argmax())


def golden_text(backend: Backend[Any], prompt: NDArray[np.int64]) -> GoldenText:
    """Greedy tokens, as many as the context allows."""
    count = min(TOKENS, backend.context - len(prompt))
    sampler = Greedy()
    state, logits = backend.begin([prompt.tolist()], len(prompt) + count)
    tokens = [sampler(logits[0])]
    while len(tokens) < count:
        tokens.append(sampler(backend.step(state, np.array(tokens[-1:], np.int64))[0]))
    return GoldenText(np.array(tokens, np.int64), np.array(sampler.gaps))


def golden_codes(talker: SpeechGenerator, thinker_width: int) -> list[GoldenText]:
    """Greedy code frames of several sentences, alternating between the first and the last voice. ``thinker_width``:
    width of the random hidden states that come with every other word; 0 for none."""
    names = list(dict.fromkeys([None, *talker.voices[-1:]]))
    texts: list[GoldenText] = []
    for number, sentence in enumerate(SENTENCES * 2):
        left = FRAMES - sum(len(one.values) for one in texts)
        if left <= 0:
            break
        random = np.random.default_rng(number)
        chunks = []
        for place, word in enumerate(sentence.split()):
            thought = random.standard_normal(thinker_width, np.float32) if thinker_width and place % 2 else None
            chunks.append(TextChunk(word + " ", thought))
        sampler = Greedy()
        made = list(talker.speak(chunks, VoiceSettings(names[number % len(names)]), sampler))
        if made:
            values = np.concatenate(made)
            gaps = np.array(sampler.gaps).reshape(values.shape)
            texts.append(GoldenText(values[:left].astype(np.int64), gaps[:left]))
    return texts


def sounded(stream: ArrayStream, frames: NDArray[Any], size: int = 7) -> NDArray[np.float32]:
    """The output of ``stream`` for (T, ...) frames pushed ``size`` at a time: (M,F) log-mel or (N,) samples."""
    pieces = [frames[begin : begin + size] for begin in range(0, len(frames), size)]
    return np.concatenate([*(stream.push(piece) for piece in pieces), stream.finish()]).astype(np.float32)


def heard_further(
    ours: NDArray[np.float32], theirs: NDArray[np.float32], mel: NDArray[np.float32], settings: MelSettings
) -> float:
    """By how much, relatively, the log-mel of ``ours`` is further from ``mel`` than that of ``theirs`` (mean absolute
    distance); 0 if it is nearer."""
    distances = []
    for samples in (ours, theirs):
        heard = log_mel(samples, settings)
        frames = min(len(heard), len(mel))
        distances.append(float(np.abs(heard[:frames] - mel[:frames]).mean()) if frames else 0.0)
    return max(0.0, distances[0] / max(distances[1], 1e-9) - 1)


def is_unchecked(entry: Mapping[str, Any]) -> bool:
    """Whether a part has outputs that rounding decides, by its manifest entry."""
    return any(graph.get("unchecked") for graph in entry["graphs"].values())


def largest_tolerance(entry: Mapping[str, Any]) -> float:
    """Of a part's graphs, by its manifest entry."""
    return max(float(graph["tolerance"]) for graph in entry["graphs"].values())


def agreeing(ours: Sequence[GoldenText], theirs: Sequence[GoldenText], allowed: float) -> tuple[int, int]:
    """How many choices agree, and how many had to. After a first difference where ``theirs`` was a near tie (a margin
    within twice the ``allowed`` error of a logit), nothing more has to."""
    equal = asked = 0
    for one, other in zip(ours, theirs, strict=True):
        count = min(len(one.values), len(other.values))
        same = (one.values[:count] == other.values[:count]).reshape(count, -1)
        right = int(same.all(1).argmin()) if not same.all() else count
        longest = max(len(one.values), len(other.values))
        near_tie = right < count and other.gaps[right].reshape(-1)[int(same[right].argmin())] <= 2 * allowed
        equal += right
        asked += right if near_tie else longest
    return equal, asked
