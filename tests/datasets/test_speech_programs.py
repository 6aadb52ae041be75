# ruff: noqa: RUF001 (letters of the phonetic alphabet)

"""Voices of speech programs by name, and the texts that they are given."""

from __future__ import annotations

import io
import shutil
from itertools import islice
from pathlib import Path

import pytest
import soundfile
from pydantic import ValidationError

from muomni_cli.api import RequestError
from muomni_cli.data import speech_programs
from muomni_cli.structured_output.command_grammar import read_grammar
from muomni_datasets.config import SpokenConfig
from muomni_datasets.story_plots import StoryRandom
from muomni_datasets.synthesized_speech import SpokenSentences, with_pauses
from muomni_voices.accents import ACCENTS, accented

LAMP = """
[intents]
switch = ["turn {state} the {room} light", "[please] turn {state} the light"]
[slots]
state = ["on", "off"]
room = ["kitchen", "hall"]
"""


@pytest.fixture
def lamp(tmp_path: Path) -> Path:
    (tmp_path / "lamp.toml").write_text(LAMP, "utf-8")
    return tmp_path / "lamp.toml"


@pytest.fixture
def no_programs_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_programs, "require_voices", lambda _: None)


def test_patterns_name_voices_of_every_program() -> None:
    assert speech_programs.voices_named(["flite:*"]) == ["flite:slt", "flite:awb", "flite:kal16", "flite:rms"]
    assert speech_programs.voices_named(["flite:rms", "flite:*"])[0] == "flite:rms"
    assert {voice.partition(":")[0] for voice in speech_programs.voices_named(["*:*"])} >= {
        "flite", "hibari", "festival", "kokoro",
    }  # fmt: skip
    with pytest.raises(RequestError, match="flite:slx") as raised:
        speech_programs.voices_named(["flite:slx"])
    assert "flite:slt" in raised.value.fix


def test_a_program_that_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for voice in ("flite:slt", "festival:kal"):
        with pytest.raises(RequestError) as raised:
            speech_programs.require_voices([voice])
        assert "install" in raised.value.fix


def test_accents_change_phonemes_and_nothing_else() -> None:
    said = "wˈɑn lˈɑɹʤ lˈɑtˌA wɪð mˈɪlk"
    assert accented(said, "us") == said
    assert accented("wɪð", "de") == "vɪz"
    for accent in ACCENTS:
        assert accented(said, accent).count(" ") == said.count(" ")
        assert accented("", accent) == ""


@pytest.mark.usefixtures("no_programs_needed")
def test_a_grammar_gives_the_texts(lamp: Path) -> None:
    config = SpokenConfig(grammar=str(lamp), voices=("flite:*", "festival:kal"), count=60, seed=3, pauses=0.5)
    spoken = [list(SpokenSentences(config).documents()) for _ in range(2)]
    assert spoken[0] == spoken[1]
    voices = {name.rpartition(":")[2] for name in speech_programs.voices_named(config.voices)}
    assert {example.voice for example in spoken[0]} == voices
    assert all("," not in example.text for example in spoken[0])
    assert any("," in example.media.text for example in spoken[0])  # type: ignore[attr-defined]
    other = list(SpokenSentences(config.model_copy(update={"seed": 4})).documents())
    assert [one.text for one in other] != [one.text for one in spoken[0]]
    assert SpokenSentences(config).files()[0] == lamp
    assert read_grammar(lamp).intents


def test_pauses_are_commas_between_words() -> None:
    text = "can i get a large latte"
    made = {with_pauses(text, StoryRandom(str(seed))) for seed in range(40)}
    assert len(made) > 5
    assert all(one.replace(",", "") == text and not one.endswith(",") for one in made)
    assert with_pauses("yes", StoryRandom("0")) == "yes"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"grammar": "x.toml", "voices": ("flite:slt",)}, "count"),
        ({"sentences": ("a hen",), "grammar": "x.toml", "count": 1}, "exclude each other"),
        ({"sentences": ("a hen",), "voices": ("slt", "flite:rms")}, "or none"),
        ({"sentences": ("a hen",), "voices": ("flite",)}, "voices"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SpokenConfig.model_validate(settings)


def test_what_is_no_grammar_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("[intents]", "utf-8")
    config = SpokenConfig(grammar=str(tmp_path / "x.toml"), voices=("slt",), count=1)
    with pytest.raises(RequestError, match="no intent"):
        next(iter(SpokenSentences(config)._texts()))


def test_a_voice_speaks_wav(lamp: Path) -> None:
    if not shutil.which("flite"):
        pytest.skip("flite is not installed")
    config = SpokenConfig(grammar=str(lamp), voices=("flite:kal16",), count=1)
    (example,) = islice(SpokenSentences(config).documents(), 1)
    with example.media.open() as file:
        samples, rate = soundfile.read(io.BytesIO(file.read()))
    assert 0.5 < len(samples) / rate < 6
    assert abs(samples).max() > 0.05
