"""Clips as quieter and longer recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from muomni_cli.api import Example
from muomni_datasets.config import FolderConfig
from muomni_datasets.labeled_files import Folder

RATE = 8000


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for number in range(8):
        path = tmp_path / "clips" / "beep" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.5 * np.sin(np.arange(RATE // 2) * 0.3), RATE, subtype="PCM_16")
    return tmp_path / "clips"


def opened(folder: Path, **settings: float) -> list[np.ndarray]:
    source = Folder(FolderConfig.model_validate({"path": str(folder), **settings}))
    sounds = []
    for example in source.documents():
        assert isinstance(example, Example)
        with example.media.open() as file:
            samples, rate = soundfile.read(file, dtype="float32")
        assert rate == RATE
        sounds.append(samples)
    return sounds


def test_gain_is_in_decibels(clips: Path) -> None:
    plain, quiet = opened(clips), opened(clips, gain=-30.0)
    for one, other in zip(plain, quiet, strict=True):
        assert 20 * np.log10(np.std(other) / np.std(one)) == pytest.approx(-30, abs=0.05)
        assert np.corrcoef(one, other)[0, 1] > 0.999


def test_a_clip_lies_somewhere_in_a_recording_of_that_length(clips: Path) -> None:
    plain, long = opened(clips), opened(clips, seconds=3.0)
    places = set()
    for one, other in zip(plain, long, strict=True):
        assert len(other) == 3 * RATE
        place = int(np.argmax(np.correlate(other, one, "valid")))
        assert other[place : place + len(one)] == pytest.approx(one, abs=0.01)
        rest = np.delete(other, np.arange(place, place + len(one)))
        assert 0 < np.abs(rest).max() < 0.01
        places.add(place)
    assert len(places) == len(plain)
    assert all(np.array_equal(one, other) for one, other in zip(long, opened(clips, seconds=3.0), strict=True))


def test_a_place_does_not_depend_on_the_folder(clips: Path, tmp_path: Path) -> None:
    there = shutil.copytree(clips, tmp_path / "there" / "clips")
    pairs = zip(opened(clips, seconds=2.0), opened(there, seconds=2.0), strict=True)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_a_longer_sound_stays_as_long_as_it_is(clips: Path) -> None:
    pairs = zip(opened(clips), opened(clips, seconds=0.1), strict=True)
    assert all(one == pytest.approx(other, abs=1e-4) for one, other in pairs)
