"""Which clips of a folder are fit to train on: what is wrong with the others is told by reason and listed."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from muomni_cli.core.errors import RequestError
from muomni_cli.voice import clips
from muomni_cli.voice.clips import Clip, ClipChecker, check_clips, clips_source, fit_limit, measured, write_report

RATE = 16_000
EACH = 0.1  # seconds of a character


def sound(text: str, level: float = 0.3) -> Any:
    """A noise as long as its text, which speech rises from and falls back into."""
    size = round(EACH * len(text) * RATE)
    return level * np.hanning(size) * np.random.default_rng(size).uniform(-1, 1, size)


class Durations:
    """An aligner that hears no more than how long a text takes."""

    def fit(self, inputs: Any, texts: Sequence[str]) -> list[float]:
        return [-abs(len(inputs) / RATE / EACH - len(text)) for text in texts]

    def align(self, inputs: Sequence[Any], texts: Sequence[str]) -> Any:
        raise AssertionError(inputs, texts)


TEXTS = [f"{'many hens ' * (1 + 3 * n % 7)}{n}" for n in range(24)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Good clips in the layout of LJSpeech."""
    (tmp_path / "wavs").mkdir()
    for number, text in enumerate(TEXTS):
        soundfile.write(tmp_path / "wavs" / f"{number}.wav", sound(text), RATE)
    (tmp_path / "metadata.csv").write_text("".join(f"{n}|{text}\n" for n, text in enumerate(TEXTS)))
    return tmp_path


def checked(folder: Path) -> clips.ClipReport:
    return check_clips(clips_source(folder), ClipChecker(Durations(), RATE), print)


def test_good_clips_are_kept(folder: Path) -> None:
    report = checked(folder)
    assert not report.reasons
    assert [clip.text for clip in report.kept] == TEXTS
    assert report.minutes == pytest.approx(sum(map(len, TEXTS)) * EACH / 60, rel=0.01)


def test_bad_clips_are_left_out_by_reason(folder: Path) -> None:
    long, loud = "a" * 210, sound("a" * 30, 8.0).clip(-0.9, 0.9)
    bad: dict[str, tuple[Any, str, str]] = {
        "long": (sound(long), long, "too long"),
        "short": (sound("abc"), "abc", "too short"),
        "loud": (loud, "a" * 30, "clipped"),
        "quiet": (sound("a" * 30, 0.003), "a" * 30, "too quiet"),
        "silent": (0 * sound("a" * 30), "a" * 30, "nothing is said"),
        "other": (sound("a" * 30), "a" * 90, "does not say its text"),
    }
    rows = (folder / "metadata.csv").read_text()
    for name, (samples, text, _) in bad.items():
        soundfile.write(folder / "wavs" / f"{name}.wav", samples, RATE)
        rows += f"{name}|{text}\n"
    (folder / "wavs" / "broken.wav").write_bytes(b"RIFF")
    (folder / "metadata.csv").write_text(rows + "broken|a\nabsent|a\n")
    report = checked(folder)
    assert {clip.path.stem: clip.reason for clip in report.clips if clip.reason} == {
        **{name: reason for name, (_, _, reason) in bad.items()},
        "broken": "cannot be read",
    }
    assert report.reasons["cannot be read"] == 2  # and the one that is absent
    assert len(report.kept) == len(TEXTS)
    write_report(report, folder / "out", "mine")
    kept = [json.loads(line) for line in (folder / "out/kept.jsonl").read_text().splitlines()]
    assert [row["text"] for row in kept] == TEXTS
    assert {row["voice"] for row in kept} == {"mine"}
    assert all((folder / "out" / row["audio"]).is_file() for row in kept)
    with (folder / "out/left-out.csv").open() as file:
        listed = {Path(row["file"]).stem: row["reason"] for row in csv.DictReader(file)}
    assert listed == {clip.path.stem: clip.reason for clip in report.clips if clip.reason}
    assert clips.read_report(folder / "out")["left_out"] == report.reasons


@pytest.mark.parametrize("pitch", [0.05, 0.31, 0.9])
def test_a_loud_clip_is_clipped_only_where_it_is_flat(pitch: float) -> None:
    tone = np.sin(np.arange(2 * RATE) * pitch).astype(np.float32)
    assert measured(tone * 0.95, RATE) == ""
    assert measured((3 * tone).clip(-0.95, 0.95), RATE) == "clipped"


def test_texts_of_other_clips_are_refused(folder: Path) -> None:
    turned = [*TEXTS[5:], *TEXTS[:5]]
    (folder / "metadata.csv").write_text("".join(f"{n}|{text}\n" for n, text in enumerate(turned)))
    with pytest.raises(RequestError, match=r"texts fit their clips .* no better than others"):
        checked(folder)


def test_texts_that_cannot_be_spelled_are_refused() -> None:
    """A column of numbers, for example, that was taken for the texts."""
    found = [Clip(Path("a"), f"{n}.655", "a") for n in range(30)]
    with pytest.raises(RequestError, match="no text of a clip can be compared with its sound .* as '0.655'"):
        fit_limit(found)


def test_few_clips_are_refused(folder: Path) -> None:
    lines = (folder / "metadata.csv").read_text().splitlines()
    (folder / "metadata.csv").write_text("\n".join(lines[:5]))
    with pytest.raises(RequestError, match="5 of 5 clips are fit to train on"):
        checked(folder)


def test_the_limit_lies_between_right_and_wrong_texts() -> None:
    found = [Clip(Path("a"), "a", "a", fit=-0.5 - 0.01 * n, other=-3.0 + 0.01 * n) for n in range(21)]
    assert fit_limit(found) == pytest.approx((-0.6 - 2.9) / 2)


def test_common_voice_is_read_and_several_speakers_are_refused(folder: Path) -> None:
    (folder / "wavs").rename(folder / "clips")
    (folder / "metadata.csv").unlink()
    rows = [f"ann\t{n}.wav\t{text}\n" for n, text in enumerate(TEXTS)]
    (folder / "validated.tsv").write_text("client_id\tpath\tsentence\n" + "".join(rows))
    (folder / "times.tsv").write_text("clip\tduration\n")
    assert len(checked(folder).kept) == len(TEXTS)
    rows[3] = rows[3].replace("ann", "bob")
    (folder / "validated.tsv").write_text("client_id\tpath\tsentence\n" + "".join(rows))
    with pytest.raises(RequestError, match="of several speakers"):
        checked(folder)


def test_a_folder_in_no_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no folder"):
        clips_source(tmp_path / "none")
    with pytest.raises(RequestError, match="is in no known layout"):
        clips_source(tmp_path)
