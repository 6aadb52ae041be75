"""Sounds made on the spot, and texts spoken by flite: what is heard is what is written beside it."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import ValidationError

from muomni_cli.api import Example, RequestError
from muomni_datasets import unknown_sounds
from muomni_datasets.config import KINDS, SoundsConfig, SpokenConfig
from muomni_datasets.synthesized_speech import SpokenSentences
from muomni_datasets.synthetic_sounds import HIGH, LOW, SyntheticSounds

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite is not installed")


def heard(example: Example) -> tuple[NDArray[np.float64], int]:
    with example.media.open() as file:
        wave, rate = soundfile.read(file)
    return wave, rate


def made(**config: Any) -> list[Example]:
    return list(SyntheticSounds(SoundsConfig(**config)).documents())


def pitch(wave: NDArray[np.float64], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(wave.size)))
    return float(spectrum.argmax() * rate / wave.size)


def test_a_sound_is_a_function_of_seed_side_and_number() -> None:
    few = made(count=20, seed=1)
    assert few == made(count=20, seed=1) == pickle.loads(pickle.dumps(few))
    assert [one.text for one in few] == [one.text for one in made(count=30, seed=1)[:20]]
    assert [one.text for one in few] != [one.text for one in made(count=20, seed=2)]
    assert not {one.key for one in made(count=20, split="train")} & {one.key for one in made(count=20, split="val")}
    assert {one.label for one in made(count=100)} == set(KINDS)
    first, again = heard(few[0])[0], heard(made(count=1, seed=1)[0])[0]
    assert np.array_equal(first, again)


@pytest.mark.parametrize(("seconds", "rate"), [(1.0, 16_000), (0.5, 8_000)])
def test_sounds_are_what_they_are_called(seconds: float, rate: int) -> None:
    for example in made(count=60, seconds=seconds, sample_rate=rate, hiss=0.01):
        wave, found = heard(example)
        assert (wave.size, found) == (round(seconds * rate), rate)
        assert 0.05 < np.abs(wave).max() <= 1
        loud = np.flatnonzero(np.abs(wave) > 0.05)
        part = wave[loud[0] : loud[-1] + 1]
        begin, end = pitch(part[: part.size // 4], rate), pitch(part[-part.size // 4 :], rate)
        match example.label:
            case "high tone":
                assert HIGH[0] - 50 < pitch(part, rate) < HIGH[1] + 50
            case "low tone":
                assert LOW[0] - 50 < pitch(part, rate) < LOW[1] + 50
            case "rising tone":
                assert end > 1.5 * begin
            case "falling tone":
                assert begin > 1.5 * end
            case "two tones":
                assert (begin < end) == example.text.startswith("A low")
            case "clicks":
                runs = 1 + int((np.diff(loud) > rate // 50).sum())
                assert example.text.split()[0] == ("", "One", "Two", "Three", "Four", "Five")[runs]
            case _:
                assert example.label == "noise"


def speak(**config: Any) -> list[Example]:
    return list(SpokenSentences(SpokenConfig(**config)).documents())


@needs_flite
def test_texts_are_spoken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Hello there.\n\nHow are you?\n" + "x" * 2000 + "\nbad\0line\ncaf\u00e9\n...\n")
    source = SpokenSentences(SpokenConfig(path=str(tmp_path / "a.txt"), voices=["slt", "awb"], count=5))
    examples = list(source.documents())
    assert [example.text for example in examples] == ["Hello there.", "How are you?"] * 2 + ["Hello there."]
    assert [example.key for example in examples] == [example.text for example in examples]
    reasons = source.unreadable[str(tmp_path / "a.txt")]
    assert [reason.partition(" line ")[0][:7] for reason in reasons.split("; ")] == ["line 4 ", "line 5 ", "line 6 "]
    assert reasons.endswith("and 1 more")
    assert source.files() == [
        tmp_path / "a.txt",
        Path(shutil.which("flite") or ""),
    ]
    wave, rate = heard(examples[0])
    assert rate == 16_000
    assert 0.3 < wave.size / rate < 5
    assert np.abs(wave).max() > 0.1
    assert np.array_equal(wave, heard(examples[0])[0])
    assert list(source.documents()) == examples == pickle.loads(pickle.dumps(examples))


@needs_flite
def test_words_are_labels_and_voices_can_be_keys() -> None:
    examples = speak(words=["yes", "no"], count=60, key="voice", holdout=["^awb$"])
    assert {(example.label, example.text) for example in examples} == {("yes", "yes"), ("no", "no")}
    assert {example.key for example in examples} == {"slt", "rms", "awb", "kal16"}
    assert {example.key for example in examples if example.split == "val"} == {"awb"}
    assert {example.split for example in examples} == {"train", "val"}
    assert len(speak(sentences=["a b", "c d", "e f"])) == 3
    assert len(set(speak(words=["yes"], count=50))) > 40  # the same word, said in many ways


@needs_flite
def test_a_longer_stretch_takes_longer() -> None:
    short, long = (
        heard(speak(sentences=["What a nice day it is."], voices=["slt"], stretch=[by, by])[0])[0].size
        for by in (0.8, 1.6)
    )
    assert long > 1.5 * short


def test_what_is_odd_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for config in (
        {"stretch": [2, 1]},
        {"pitch": [0.1, 1]},
        {"voices": ["somebody"]},
        {"voices": []},
        {"words": ["..."]},
    ):
        with pytest.raises(ValidationError):
            SpokenConfig.model_validate(config)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RequestError) as caught:
        speak(words=["yes"], program="flite")
    assert "flite" in caught.value.what
    assert "install" in caught.value.fix


@needs_flite
def test_a_flite_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (example,) = speak(words=["yes"])
    broken = tmp_path / "flite"
    broken.write_text("#!/bin/sh\necho Voices available: slt\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="yes"):
        example.media.open()
    with pytest.raises(RequestError, match="no voice awb, kal16, rms"):
        speak(words=["yes"])


@pytest.mark.parametrize("kind", ["unknown", "held"])
def test_unknown_sounds_are_heard_and_differ(kind: str) -> None:
    sounds = made(count=40, kinds=[kind], hiss=0.0)
    assert {one.label for one in sounds} == {"unknown"}
    assert {one.text for one in sounds} == {unknown_sounds.CAPTION}
    waves = [heard(one)[0] for one in sounds]
    assert all(np.isfinite(wave).all() and 0.1 < np.abs(wave).max() <= 1 for wave in waves)
    assert all(np.array_equal(wave, heard(one)[0]) for wave, one in zip(waves, sounds, strict=True))
    spectra = [np.abs(np.fft.rfft(wave, 16_000)) for wave in waves]
    likeness = np.corrcoef(np.log1p(spectra))
    assert np.median(likeness[np.triu_indices(40, 1)]) < 0.9
