"""Training data of Talkers: speech encoded once by the codec, with the time of each character of its text.

Cached in a folder named by a fingerprint of the examples, the spoken texts and the weights of codec and encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.speech import Aligner, CharSpan
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.batches import BatchSampler, Sampled
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples
from muomni_cli.data.media import Inputs, InputsWriter, open_inputs
from muomni_cli.data.split import SPLITS, Split

FORMAT = 1  # incremented when the cached data for the same sources change
AT_ONCE = 16  # utterances to encode at a time
Progress = Callable[[str], None]


@dataclass(slots=True, eq=False)
class SpeechDataset(Sampled):
    """Implements :class:`muomni_cli.contract.speech.SpokenExamples`."""

    codes: Inputs
    char_times: Inputs
    texts: Sequence[str]
    written: Sequence[str]
    voices: Sequence[str]
    sampler: BatchSampler

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True, slots=True)
class SpeechData:
    train: SpeechDataset
    val: SpeechDataset


@dataclass(frozen=True, slots=True)
class SpeechEncoders:
    """The models that encode and align speech."""

    # (N,) samples each -> (T,Q) codes each
    encode: Callable[[Sequence[NDArray[np.float32]]], Sequence[NDArray[np.uint16]]]
    aligner: Aligner  # trained
    fingerprints: Sequence[str]  # of their weights
    spell: Callable[[str], str]  # written text -> spoken form; empty if nothing is spoken
    # (N,) samples at the codec's rate -> at the aligner's
    resample: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def open_speech(
    data: DecodedExampleData, encoders: SpeechEncoders, weights: Sequence[float], seed: int, progress: Progress
) -> SpeechData:
    """The encoded speech of ``data``: from the cache, or encoded now. ``weights``: sampling weight of each source.

    Raises:
        RequestError: no text of one side could be aligned.
        MuomniError: the cache cannot be written.
    """
    sides: dict[Split, DecodedExamples] = {"train": data.train, "val": data.val}
    texts = {split: [encoders.spell(text) for text in examples.texts] for split, examples in sides.items()}
    identity = [FORMAT, data.fingerprint, *encoders.fingerprints, *texts["train"], *texts["val"]]
    folder = cache_folder() / "speech" / fingerprint_of(identity)
    found = cached_folder(
        folder, "speech.json", "the encoded speech", lambda partial: _make(sides, texts, encoders, partial, progress)
    )
    splits = {split: _open(folder, split, found[split], weights, seed) for split in SPLITS}
    return SpeechData(splits["train"], splits["val"])


def _make(
    sides: Mapping[Split, DecodedExamples],
    texts: Mapping[Split, list[str]],
    encoders: SpeechEncoders,
    folder: Path,
    progress: Progress,
) -> dict[str, list[dict[str, Any]]]:
    """Write codes and character times to ``folder`` and return everything else about each row, by side."""
    written: dict[str, list[dict[str, Any]]] = {}
    for split, examples in sides.items():
        made = _encode(examples, texts[split], encoders, progress)
        if lost := len(examples) - len(made):
            progress(f"warning: {lost:,} of {len(examples):,} texts for {split} could not be aligned with their audio")
        codes, char_times = InputsWriter(folder / f"{split}-codes"), InputsWriter(folder / f"{split}-edges")
        written[split] = []
        for row in sorted(made):
            codes.append(made[row][0])
            char_times.append(made[row][1])
            about = {"written": examples.texts[row], "text": texts[split][row], "voice": examples.voices[row]}
            written[split].append({**about, "source": examples.sources[row]})
        codes.close()
        char_times.close()
    return written


def _encode(
    examples: DecodedExamples, texts: Sequence[str], encoders: SpeechEncoders, progress: Progress
) -> dict[int, tuple[NDArray[Any], NDArray[np.float32]]]:
    """Codes and character times by row, for texts that could be aligned."""
    made: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}
    done = 0
    for batch in examples.batches(AT_ONCE):
        rows = [row for row in batch if texts[row]]
        waves = [np.asarray(examples.inputs[row], np.float32) for row in rows]
        spans = encoders.aligner.align([encoders.resample(wave) for wave in waves], [texts[row] for row in rows])
        kept = [place for place, found in enumerate(spans) if found]
        for place, codes in zip(kept, encoders.encode([waves[place] for place in kept]), strict=True):
            found = spans[place]
            assert found is not None
            made[rows[place]] = codes, char_times_of(found, len(texts[rows[place]]))
        before, done = done, done + len(batch)
        if done // 1000 > before // 1000:
            progress(f"encoding speech: {done:,} of {len(examples):,}")
    return made


def char_times_of(spans: Sequence[CharSpan], characters: int) -> NDArray[np.float32]:
    """(L+1,) start time in seconds of each of L characters, and the end of the last. Characters of a span divide its
    time; characters outside of spans take no time, at the end of the span before them."""
    char_times = np.empty(characters + 1, np.float32)
    place, now = 0, spans[0].start
    for span in spans:
        char_times[place : span.start_char] = now
        count = span.end_char - span.start_char
        char_times[span.start_char : span.end_char] = span.start + (span.end - span.start) * np.arange(count) / count
        place, now = span.end_char, span.end
    char_times[place:] = now
    return char_times


def _open(
    folder: Path, split: Split, rows: Sequence[dict[str, Any]], weights: Sequence[float], seed: int
) -> SpeechDataset:
    if not rows:
        raise RequestError(
            f"no text of the speech for {split} could be aligned with its audio",
            "check that texts and audio belong together, and that the encoder knows the letters of the texts",
        )
    codes, char_times = open_inputs(folder / f"{split}-codes"), open_inputs(folder / f"{split}-edges")
    texts, written, voices, sources = ([row[key] for row in rows] for key in ("text", "written", "voice", "source"))
    sampler = BatchSampler([len(one) for one in codes], sources, weights, seed)
    return SpeechDataset(codes, char_times, texts, written, voices, sampler)
