"""Speech programs: which one speaks, that hibari varies as asked, and that others can tell who spoke."""

from __future__ import annotations

import importlib.util
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from muomni_cli.api import RequestError
from muomni_datasets.config import SpokenConfig
from muomni_datasets.synthesized_speech import SpokenSentences, choose_program, program_files, synthesize, synthesizer

needs_hibari = pytest.mark.skipif(importlib.util.find_spec("hibari") is None, reason="hibari-tts is not installed")


def seconds(sound: bytes) -> float:
    return float(soundfile.info(io.BytesIO(sound)).duration)


@pytest.fixture
def without_flite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # noqa: ARG005


@pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite is not installed")
def test_flite_comes_first() -> None:
    assert choose_program("auto") == choose_program("flite") == "flite"
    assert [path.name for path in program_files("auto")] == ["flite"]


@needs_hibari
@pytest.mark.usefixtures("without_flite")
def test_hibari_stands_in_for_flite() -> None:
    assert choose_program("auto") == "hibari"
    (model,) = program_files("auto")
    assert model.is_file()
    source = SpokenSentences(SpokenConfig(words=("yes", "no"), count=40, key="voice", holdout=("rms",)))
    examples = list(source.documents())
    assert source.files() == [model]
    assert {example.voice for example in examples} == {"hibari", "hibari-rms", "hibari-awb", "hibari-kal16"}
    assert {example.key for example in examples if example.split == "val"} == {"hibari-rms"}
    assert examples[0].media.open().read() == examples[0].media.open().read()
    assert "hibari" in examples[0].media.name
    with pytest.raises(RequestError, match="flite, which speaks these texts, is not installed"):
        choose_program("flite")


@needs_hibari
def test_hibari_is_stretched_and_pitched() -> None:
    plain = synthesize("hibari", "What a nice day it is.", "slt", 1.0, 1.0)
    slow = synthesize("hibari", "What a nice day it is.", "slt", 1.5, 1.0)
    high = synthesize("hibari", "What a nice day it is.", "slt", 1.0, 1.3)
    assert seconds(slow) == pytest.approx(1.5 * seconds(plain), rel=0.15)
    assert seconds(high) == pytest.approx(seconds(plain), rel=0.15)
    samples, rate = soundfile.read(io.BytesIO(high))
    assert rate == round(1.3 * 24_000)
    assert 0.1 < np.abs(samples).max() <= 1


@needs_hibari
def test_hibari_is_a_teacher() -> None:
    voice = synthesizer("hibari")
    assert voice.voice == "hibari"
    assert 0.3 < seconds(voice.say("Good morning.")) < 3
    with pytest.raises(RequestError, match="no letters of English"):
        voice.say("...")


def test_without_any_program_both_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # noqa: ARG005
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # noqa: ARG005
    assert program_files("auto") == []
    with pytest.raises(RequestError) as caught:
        list(SpokenSentences(SpokenConfig(words=("yes",))).documents())
    assert "flite" in caught.value.what
    assert "muomni[voices]" in caught.value.fix
    assert SpokenSentences(SpokenConfig(words=("yes",))).files() == list[Path]()
