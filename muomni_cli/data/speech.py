"""Speech as a Talker learns it: each sound encoded once by the codec, and when each character of its text was said.

Kept as shards in the cache, in a folder named by a fingerprint of the examples, the spoken texts and the weights of
codec and encoder. Knows their protocols, no part by name, and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.speech import Aligner, Timed
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples, Order
from muomni_cli.data.media import Inputs, InputsWriter, open_inputs
from muomni_cli.data.sources import SPLITS
from muomni_cli.data.split import Split

FORMAT = 1
"""Raised when what is written for the same data changes."""

AT_ONCE = 16
"""Sounds that are encoded at a time."""

Progress = Callable[[str], None]


class Speech:
    """One side of the split; row i is one utterance.

    Args:
        codes: (T,Q) of each, memory-mapped.
        edges: (L+1,) of each: seconds at which each character of its text begins, and at which the last one ends.
        texts: what is spoken, L characters each.
        written: the texts that it was made of.
        voices: who speaks.
        order: which are drawn when.
    """

    def __init__(
        self,
        codes: Inputs,
        edges: Inputs,
        texts: Sequence[str],
        written: Sequence[str],
        voices: Sequence[str],
        order: Order,
    ) -> None:
        self.codes, self.edges, self.texts, self.written, self.voices = codes, edges, texts, written, voices
        self._order = order

    def __len__(self) -> int:
        return len(self.texts)

    def draw(self, step: int, batch_size: int) -> list[int]:
        """Indices of batch number ``step``, of about equal length: a pure function of the seed and both numbers."""
        return self._order.draw(step, batch_size)

    def every(self, batch_size: int) -> Iterator[list[int]]:
        """All indices once, from the shortest to the longest."""
        return self._order.every(batch_size)


@dataclass(frozen=True, slots=True)
class SpeechData:
    """Both sides."""

    train: Speech
    val: Speech


@dataclass(frozen=True, slots=True)
class Makers:
    """What speech is encoded and timed with.

    Args:
        encode: (N,) samples each -> (T,Q) codes each.
        aligner: trained.
        marks: of their weights: another mark, other shards.
        spell: what is spoken of a written text; empty if nothing.
        resample: (N,) samples of the codec's rate -> of the aligner's.
    """

    encode: Callable[[Sequence[NDArray[np.float32]]], Sequence[NDArray[np.uint16]]]
    aligner: Aligner
    marks: Sequence[str]
    spell: Callable[[str], str]
    resample: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_speech(
    data: DecodedExampleData, makers: Makers, weights: Sequence[float], seed: int, progress: Progress
) -> SpeechData:
    """The shards of ``data``: from the cache if nothing changed, made now otherwise.

    Args:
        weights: how often each source is drawn.

    Raises:
        RequestError: no text could be found in its sound, on one side.
        MuomniError: the cache cannot be written.
    """
    texts = {side: [makers.spell(text) for text in _side(data, side).texts] for side in SPLITS}
    identity = [FORMAT, data.fingerprint, *makers.marks, *texts["train"], *texts["val"]]
    folder = cache_folder() / "speech" / fingerprint_of(identity)
    found = cached_folder(
        folder, "speech.json", "the encoded speech", lambda partial: _make(data, texts, makers, partial, progress)
    )
    sides = {side: _open(folder, side, found[side], weights, seed) for side in SPLITS}
    return SpeechData(sides["train"], sides["val"])


def _side(data: DecodedExampleData, side: Split) -> DecodedExamples:
    return data.train if side == "train" else data.val


def _make(
    data: DecodedExampleData, texts: dict[Split, list[str]], makers: Makers, folder: Path, progress: Progress
) -> dict[str, list[dict[str, Any]]]:
    """Write codes and edges to ``folder``; all else that is known of each row, side by side."""
    written: dict[str, list[dict[str, Any]]] = {}
    for side in SPLITS:
        examples = _side(data, side)
        made = _encode(examples, texts[side], makers, progress)
        lost = len(examples) - len(made)
        if lost:
            progress(f"warning: {lost:,} of {len(examples):,} texts for {side} could not be found in their sounds")
        codes, edges = InputsWriter(folder / f"{side}-codes"), InputsWriter(folder / f"{side}-edges")
        for row in sorted(made):
            codes.append(made[row][0])
            edges.append(made[row][1])
        codes.close()
        edges.close()
        written[side] = [
            {
                "written": examples.texts[r],
                "text": texts[side][r],
                "voice": examples.voices[r],
                "source": examples.sources[r],
            }
            for r in sorted(made)
        ]
    return written


def _encode(
    examples: DecodedExamples, texts: Sequence[str], makers: Makers, progress: Progress
) -> dict[int, tuple[NDArray[Any], NDArray[np.float32]]]:
    """Codes and edges by row, of those whose text was found."""
    made: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}
    done = 0
    for batch in examples.every(AT_ONCE):
        rows = [row for row in batch if texts[row]]
        waves = [np.asarray(examples.inputs[row], np.float32) for row in rows]
        spans = makers.aligner.align([makers.resample(wave) for wave in waves], [texts[row] for row in rows])
        kept = [place for place, found in enumerate(spans) if found]
        for place, codes in zip(kept, makers.encode([waves[place] for place in kept]), strict=True):
            found = spans[place]
            assert found is not None, "kept has looked"
            made[rows[place]] = codes, edges_of(found, len(texts[rows[place]]))
        before, done = done, done + len(batch)
        if done // 1000 > before // 1000:
            progress(f"encoding speech: {done:,} of {len(examples):,}")
    return made


def edges_of(spans: Sequence[Timed], characters: int) -> NDArray[np.float32]:
    """(L+1,) seconds at which each of L characters begins, and the last one ends; a span's characters share its time.

    Characters that no span covers take no time, at the end of what was said before them.
    """
    edges = np.empty(characters + 1, np.float32)
    place, now = 0, spans[0].since
    for span in spans:
        edges[place : span.begin] = now
        count = span.end - span.begin
        edges[span.begin : span.end] = span.since + (span.until - span.since) * np.arange(count) / count
        place, now = span.end, span.until
    edges[place:] = now
    return edges


def _open(folder: Path, side: Split, rows: Sequence[dict[str, Any]], weights: Sequence[float], seed: int) -> Speech:
    if not rows:
        raise RequestError(
            f"of none of the examples of speech for {side} could the text be found in the sound",
            "check that texts and sounds belong together, and that the encoder knows the texts' letters",
        )
    codes, edges = open_inputs(folder / f"{side}-codes"), open_inputs(folder / f"{side}-edges")
    texts, written, voices, sources = ([row[key] for row in rows] for key in ("text", "written", "voice", "source"))
    order = Order([len(one) for one in codes], sources, weights, seed)
    return Speech(codes, edges, texts, written, voices, order)
