"""Recordings as people make them, from clips: quieter, and longer than what is said in them. For measuring."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from muomni_cli.api import FileMedia, RequestError, SliceMedia

HUM = -50.0  # level of the faint noise around a clip, in dB relative to the clip


@dataclass(frozen=True, slots=True)
class RecordedMedia:
    """A clip, opened as WAV of 16 bits: ``gain`` dB louder, and at a place that follows from its name in a recording of
    ``seconds``, unless it is longer."""

    modality: str
    of: FileMedia | SliceMedia
    gain: float
    seconds: float

    @property
    def name(self) -> str:
        return self.of.name

    @property
    def path(self) -> Path:
        return self.of.path

    def open(self) -> BinaryIO:
        import soundfile  # type: ignore[import-untyped]

        try:
            with self.of.open() as file:
                clip, rate = soundfile.read(file, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise RequestError(f"{self.name} cannot be read: {error}", "remove it, or repair the file") from error
        rng = np.random.default_rng(zlib.crc32(Path(self.name).name.encode()))
        rest = round(self.seconds * rate) - len(clip)
        if rest > 0:
            faint = float(np.sqrt(np.mean(clip**2))) * 10 ** (HUM / 20)
            whole = rng.normal(0, faint, (len(clip) + rest, clip.shape[1])).astype(np.float32)
            place = int(rng.integers(rest + 1))
            whole[place : place + len(clip)] += clip
            clip = whole
        made = io.BytesIO()
        soundfile.write(made, (clip * 10 ** (self.gain / 20)).clip(-1, 1), rate, subtype="PCM_16", format="WAV")
        made.seek(0)
        return made
