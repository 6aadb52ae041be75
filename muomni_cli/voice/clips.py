"""Recordings of one voice: which clips of a folder are fit to train on, and why the others are not.

Whether a sound says its text is decided by a recognizer that aligns (:class:`muomni_cli.contract.speech.Aligner`). How
well it hears a voice differs, so the limit is taken from the folder itself: half-way between how well the texts fit
their own clips and how well they fit other clips, both in the median.

Shapes: N samples.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.dsp import resample
from muomni_cli.audio.io import read_samples
from muomni_cli.contract.data import Dataset, Example, FileMedia
from muomni_cli.contract.declarations import DatasetPart
from muomni_cli.contract.speech import Aligner
from muomni_cli.core.console import duration
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json, write_text
from muomni_cli.registry.registry import get_registry, resolve

KEPT, LEFT_OUT, SUMMARY = "kept.jsonl", "left-out.csv", "summary.json"
SHORTEST, LONGEST = 0.5, 20.0  # seconds of a clip
QUIETEST = -45.0  # dB of full scale of the loudest tenth of a clip's blocks
BLOCK = 0.02  # seconds of a block
FLAT = 3  # samples in a row at the peak that microphones and converters leave where they clip
CLIPPED = 2e-4  # share of a clip's samples in such rows
LOUD = 0.25  # a lower peak is hardly one at which something clipped
MARGIN = 0.5  # least difference, in nats a character, of the two medians that the limit lies between
FEWEST = 20  # clips to train on
OTHERS = 8  # texts of earlier clips among which the one of the most similar length stands for a wrong text

UNREADABLE, EMPTY, SHORT, LONG = "cannot be read", "nothing is said", "too short", "too long"
QUIET, CLIP, MISFIT = "too quiet", "clipped", "does not say its text"

Wave = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and what was found. ``reason``: why it is left out; empty for one that is kept. ``fit``: of its own text;
    ``other``: of the text of another clip (:meth:`Aligner.fit`)."""

    path: Path
    text: str
    key: str
    reason: str = ""
    seconds: float = 0.0
    fit: float = -math.inf
    other: float = -math.inf


@dataclass(frozen=True, slots=True)
class ClipReport:
    """The clips of a folder, the limit of their fit, and entries of its lists that name no clip."""

    clips: Sequence[Clip]
    limit: float
    unreadable: int

    @property
    def kept(self) -> list[Clip]:
        return [clip for clip in self.clips if not clip.reason]

    @property
    def reasons(self) -> dict[str, int]:
        """Reason -> number of clips that are left out for it."""
        found = Counter(clip.reason for clip in self.clips if clip.reason)
        found[UNREADABLE] += self.unreadable
        return dict(+found)

    @property
    def minutes(self) -> float:
        """Of the clips that are kept."""
        return sum(clip.seconds for clip in self.kept) / 60


def clips_source(folder: Path) -> Dataset:
    """The clips of a folder, in a layout that a dataset part knows. RequestError if none does."""
    if not folder.is_dir():
        raise RequestError(f"there is no folder {folder}", "record one: muomni data record SCRIPT -o FOLDER")
    for registered in get_registry().all(DatasetPart.kind):
        part = registered.part
        if isinstance(part, DatasetPart) and part.recordings is not None:
            settings = resolve(part.recordings, f"dataset {registered.use}")(folder)
            if settings is not None:
                dataset: Dataset = resolve(part.build, f"dataset {registered.use}")(part.config(**settings))
                return dataset
    raise RequestError(
        f"{folder} is in no known layout of recordings and their texts",
        "bring it into that of LJSpeech: lines NAME|TEXT in metadata.csv, and wavs/NAME.wav",
    )


def list_reader() -> str:
    """The dataset part that reads the list of :func:`write_report`, for a recipe. RequestError if there is none."""
    for registered in get_registry().all(DatasetPart.kind):
        if isinstance(registered.part, DatasetPart) and registered.part.json_lines:
            return str(registered.use)
    raise RequestError("no installed plugin reads lists of clips", "install one that does, or muomni again")


def measured(wave: Wave, rate: int) -> str:
    """Why (N,) samples are not fit to train on, from the sound alone; empty if they are."""
    peak = float(np.abs(wave).max()) if wave.size else 0.0
    if peak < 1e-3:
        return EMPTY
    if wave.size < SHORTEST * rate:
        return SHORT
    if wave.size > LONGEST * rate:
        return LONG
    size = round(BLOCK * rate)
    blocks = wave[: wave.size // size * size].reshape(-1, size).astype(np.float64)
    levels = 10 * np.log10(np.square(blocks).mean(1) + 1e-10)
    if float(np.percentile(levels, 90)) < QUIETEST:
        return QUIET
    flat = np.abs(wave) >= peak * (1 - 1e-4)
    turns = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(np.int8), [0]])))
    rows = turns[1::2] - turns[::2]
    return CLIP if peak > LOUD and rows[rows >= FLAT].sum() > CLIPPED * wave.size else ""


@dataclass(slots=True)
class ClipChecker:
    """Checks clips one after the other; ``rate``: of the recognizer in Hz."""

    aligner: Aligner
    rate: int
    _texts: deque[str] = field(default_factory=lambda: deque(maxlen=OTHERS))

    def check(self, clip: Clip) -> Clip:
        """The clip with its measurements, and the reason to leave it out if the sound alone is one."""
        media = FileMedia("audio", clip.path)
        try:
            with media.open() as file:
                wave, rate = read_samples(file, media.name, 60 * LONGEST)
        except RequestError:
            return replace(clip, reason=UNREADABLE)
        clip = replace(clip, seconds=wave.size / rate, reason=measured(wave, rate))
        if clip.reason:
            return clip
        other = min(self._texts, key=lambda text: abs(len(text) - len(clip.text)), default=None)
        self._texts.append(clip.text)
        texts = [clip.text, *([] if other is None or other == clip.text else [other])]
        fits = self.aligner.fit(resample(wave, rate, self.rate), texts)
        return replace(clip, fit=fits[0], other=fits[1] if len(fits) > 1 else -math.inf)


def check_clips(dataset: Dataset, checker: ClipChecker, progress: Callable[[str], None]) -> ClipReport:
    """Check every clip.

    Raises:
        RequestError: the clips are of several speakers, hardly any is fit to train on, or the texts do not fit their
            clips better than those of others.
    """
    clips = list(_clips(dataset))
    checked: list[Clip] = []
    begin = reported = time.monotonic()
    for clip in clips:
        checked.append(checker.check(clip))
        now = time.monotonic()
        if now > reported + 5.0:
            reported = now
            left = duration((len(clips) - len(checked)) * (now - begin) / len(checked))
            progress(f"checking clips: {len(checked):,} of {len(clips):,}, {left} left")
    limit = fit_limit(checked)
    clips = [clip if clip.reason or clip.fit >= limit else replace(clip, reason=MISFIT) for clip in checked]
    report = ClipReport(clips, limit, len(dataset.unreadable))
    if len(report.kept) < FEWEST:
        found = "; ".join(f"{count:,} {reason}" for reason, count in report.reasons.items())
        raise RequestError(
            f"{len(report.kept)} of {len(clips):,} clips are fit to train on{f' ({found})' if found else ''}",
            f"record at least {FEWEST}, and better a hundred: muomni data record SCRIPT -o FOLDER",
        )
    return report


def _clips(dataset: Dataset) -> Iterator[Clip]:
    speakers: set[str] = set()
    for item in dataset.documents():
        if isinstance(item, Example) and isinstance(item.media, FileMedia):
            speakers.add(item.voice)
            if len(speakers) > 1:
                raise RequestError(
                    "the clips are of several speakers, and a voice is that of one",
                    "keep the lines of one client_id in the lists",
                )
            yield Clip(item.media.path, item.text, item.media.path.name)


def fit_limit(clips: Sequence[Clip]) -> float:
    """The fit from which a clip says its text. RequestError if the texts do not belong to their clips, or none of them
    can be spelled."""
    own = [clip.fit for clip in clips if math.isfinite(clip.fit)]
    heard = [clip for clip in clips if not clip.reason]
    if heard and not own:
        raise RequestError(
            f"no text of a clip can be compared with its sound by what the model hears, as {heard[0].text[:60]!r}",
            "write texts as they are spoken, in letters that the model knows, numbers in words",
        )
    others = [clip.other for clip in clips if math.isfinite(clip.other)]
    if not own or not others:
        return -math.inf
    right, wrong = statistics.median(own), statistics.median(others)
    if right - wrong < MARGIN:
        raise RequestError(
            f"by what the model hears, texts fit their clips ({right:.2f}) no better than others ({wrong:.2f})",
            "check that the list names the right files, in a language that the model hears",
        )
    return (right + wrong) / 2


def write_report(report: ClipReport, folder: Path, voice: str) -> None:
    """Write the list of clips to train on, that of the others with their reasons, and a summary, last.

    Paths in the first list are relative to ``folder``."""
    rows = (
        {
            "audio": os.path.relpath(clip.path.resolve(), folder.resolve()),
            "text": clip.text,
            "key": clip.key,
            "voice": voice,
        }
        for clip in report.kept
    )
    write_text(folder / KEPT, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("file", "reason", "seconds", "fit", "text"))
    for clip in report.clips:
        if clip.reason:
            fit = f"{clip.fit:.3f}" if math.isfinite(clip.fit) else ""
            writer.writerow((clip.path, clip.reason, f"{clip.seconds:.2f}", fit, clip.text))
    write_text(folder / LEFT_OUT, table.getvalue())
    summary = {
        "voice": voice,
        "clips": len(report.clips),
        "kept": len(report.kept),
        "minutes": round(report.minutes, 2),
        "left_out": report.reasons,
        "limit": round(report.limit, 4) if math.isfinite(report.limit) else None,
    }
    write_json(folder / SUMMARY, summary)


def read_report(folder: Path) -> dict[str, Any]:
    """The summary that :func:`write_report` wrote; empty if there is none."""
    return read_json(folder / SUMMARY) if (folder / SUMMARY).is_file() else {}
