"""The model that comes with muomni: whole, small, and really seeing, hearing, answering and speaking."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, app, load
from muomni_cli.api import Example
from muomni_cli.models.locate import ModelRequirement, model_named, resolve_model
from muomni_cli.runs.digests import verify
from muomni_datasets.config import SoundsConfig
from muomni_datasets.pictures_config import ScenesConfig
from muomni_datasets.scenes import SceneMedia, Scenes
from muomni_datasets.synthetic_sounds import SyntheticSounds
from muomni_nano import SAMPLES as FILES

MOST = 45.6e6
"""Bytes of all that nano adds to an installation."""
HELD = ("green star", "purple square", "yellow triangle", "orange circle")
"""Kinds of things that no training scene showed."""
ABOUT_A_PICTURE = (
    ("What colour is the {some_shape}?", "{colour_of_some_shape}"),
    ("What shape is {some_colour}?", "{shape_of_some_colour}"),
    ("Is there a {missing_shape}?", "No, there is no {missing_shape}."),
)
"""Questions, and what is right, in the words of a scene's facts."""
SENTENCE = "the little boat sailed across the quiet lake"


@pytest.fixture(scope="module")
def nano() -> Model:
    return load("nano", threads=1)


@pytest.mark.parametrize(("before", "after"), [(0, 0), (0.5, 3), (3, 0.5), (0, 8), (20, 10)])
@pytest.mark.parametrize("level", [0, -20, -40])
def test_it_hears_a_word_anywhere_in_a_recording_at_any_level(
    nano: Model, before: float, after: float, level: float
) -> None:
    wave, rate = soundfile.read(FILES / "samples" / "stop.flac", dtype="float32")
    noise = np.random.default_rng(0)
    around = [noise.normal(0, 0.001, round(seconds * rate)).astype(np.float32) for seconds in (before, after)]
    recording = np.concatenate([around[0], wave, around[1]]) * np.float32(10 ** (level / 20))
    assert nano.transcribe((recording, rate)) == "stop"
    assert nano.chat("What do you hear?", audio=(recording, rate)).strip(".").lower() == "stop"


@pytest.mark.parametrize("size", [(64, 64), (66, 64), (85, 64), (64, 70), (64, 120)])
def test_it_sees_pictures_that_are_not_square(nano: Model, size: tuple[int, int]) -> None:
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse([7, 21, 29, 43], fill=(220, 30, 30))
    pen.rectangle([36, 21, 58, 43], fill=(30, 60, 220))
    answer = nano.chat("What do you see?", image=picture)
    assert "red circle" in answer
    assert "blue square" in answer


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture or a sound in a file, and what is true of it."""

    path: Path
    text: str


def written(source: Any, folder: Path) -> list[Shown]:
    """The examples of a source, each in a file."""
    made = []
    for number, example in enumerate(source.documents()):
        assert isinstance(example, Example)
        path = folder / f"{number}.{'png' if example.media.modality == 'image' else 'wav'}"
        with example.media.open() as file:
            path.write_bytes(file.read())
        made.append(Shown(path, example.text))
    return made


def test_it_is_whole_and_small() -> None:
    found = model_named("nano")
    assert found.bundle is not None
    found.bundle.open().verify()
    verify(found.run().root)
    package = found.run().root.parent
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) <= MOST


def test_a_harmed_file_is_refused(tmp_path: Path) -> None:
    bundle = model_named("nano").bundle
    assert bundle is not None
    copy = shutil.copytree(bundle.root, tmp_path / "bundle")
    with (copy / "thinker" / "thinker.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\1\2\3")
    with pytest.raises(Exception, match=r"thinker\.onnx"):
        load(copy).chat("hello")


def test_it_is_meant_where_no_model_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = resolve_model(None, ModelRequirement(lambda _: None, "is complete"))
    assert found.installed is not None
    assert found.installed.use == "nano"


@pytest.mark.parametrize(  # two or three below what its card says of 20
    ("kinds", "least"),
    [
        ({"without": HELD}, 17),
        ({"only": HELD}, 14),
        ({"without": HELD, "grounds": ("white",)}, 18),
        ({"without": HELD, "grounds": ("black",)}, 17),
        ({"without": HELD, "quality": (50, 50)}, 17),
        ({"without": HELD, "filling": 1.0, "filling_radius": (24.0, 24.0)}, 18),
    ],
)
def test_it_says_what_a_picture_shows(kinds: dict[str, Any], least: int, nano: Model, tmp_path: Path) -> None:
    scenes = written(Scenes(ScenesConfig(count=20, seed=77, split="val", **kinds)), tmp_path)
    right = [nano.chat("What do you see?", image=scene.path) == scene.text for scene in scenes]
    assert sum(right) >= least


def test_it_answers_about_a_picture_alone(nano: Model, tmp_path: Path) -> None:
    right = asked = 0
    for number, example in enumerate(Scenes(ScenesConfig(count=12, seed=80, split="val", without=HELD)).documents()):
        assert isinstance(example, Example)
        assert isinstance(example.media, SceneMedia)
        true = example.media.facts
        path = tmp_path / f"{number}.png"
        with example.media.open() as file:
            path.write_bytes(file.read())
        for question, answer in ABOUT_A_PICTURE:
            if any(slot not in true for slot in re.findall(r"{(\w+)}", question + answer)):
                continue  # nothing of the kind is in this scene
            asked += 1
            right += nano.chat(question.format_map(true), image=path) == answer.format_map(true)
    assert asked > 20
    assert right >= 0.85 * asked


def test_pictures_and_sounds_are_kept_apart(nano: Model, tmp_path: Path) -> None:
    (scene,) = written(Scenes(ScenesConfig(count=1, seed=78, split="val", without=HELD)), tmp_path)
    sounds = written(SyntheticSounds(SoundsConfig(count=6, seed=78, split="val")), tmp_path)
    heard = [nano.chat("What do you hear?", audio=sound.path) == sound.text for sound in sounds]
    assert sum(heard) >= 4
    assert "no sound" in nano.chat("What do you hear?", image=scene.path)
    assert len({nano.chat("What do you see?", image=scene.path, audio=one.path) for one in sounds[:2]}) == 1


def test_what_it_says_is_understood_by_another(nano: Model) -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx, the judge, is not installed: pip install 'muomni[eval]'")
    jiwer = pytest.importorskip("jiwer", reason="jiwer is not installed: pip install 'muomni[eval]'")
    from muomni_cli.speech.asr import Recognizer

    samples, rate = nano.speak(SENTENCE)
    others = ["the cat sat under the old table", "a small bird sang across the lake", "he sailed to the quiet town"]
    heard = Recognizer.for_sentences([SENTENCE], others).transcribe(samples, rate)
    assert jiwer.wer(SENTENCE, heard) <= 0.25
    assert 1.0 < len(samples) / rate < 6.0


def test_the_commands_of_the_first_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (scene,) = written(Scenes(ScenesConfig(count=1, seed=79, split="val", without=HELD)), tmp_path)
    (sound,) = written(SyntheticSounds(SoundsConfig(count=1, seed=79, split="val", kinds=("rising tone",))), tmp_path)

    def told(*words: Any) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            app.main([*map(str, words)])
        assert left.value.code == 0
        return capsys.readouterr().out.strip()

    told("tts", "hello", "-o", "out.wav")
    samples, rate = soundfile.read("out.wav")
    assert 0.3 < len(samples) / rate < 3
    assert np.abs(samples).max() > 0.05
    assert len(told("chat", "", "--image", scene.path, "--audio", sound.path)) > 3
    assert len(told("listen", "out.wav")) > 1


def test_its_scores_are_those_of_its_page() -> None:
    found = model_named("nano").installed
    assert found is not None
    assert found.part.scores is not None
    assert found.part.card is not None
    result = found.part.card.read_text(encoding="utf-8")
    for score in json.loads(found.part.scores.read_text(encoding="utf-8")):
        assert f"{score['value']:.3f}" in result, (score["stage"], score["task"], score["metric"])


def test_another_model_can_begin_where_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'muomni[train]'")
    from muomni_cli.commands.train import train
    from muomni_cli.runs.run import RunFolder

    monkeypatch.chdir(tmp_path)
    scenes = '{use="scenes",count=16,colors=["pink","brown"]}'
    ask = '[{question=["What do you see?"],answer="{image.text}"}]'
    shown = f'use="asked",task="pink",from={{image={scenes}}},ask={ask}'
    pink = f"data.omni=[{{{shown},count=8,val_count=2,val_fraction=0.3}}]"
    few = [
        "train.omni.steps=1",
        "train.omni.warmup_steps=0",
        "train.omni.batch_size=2",
        "data.text=[]",
        "data.image=[]",
        "data.audio=[]",
    ]
    train("omni", "nano", ["train.omni.init=nano", pink, *few, "data.speech=[]"], run="mine")
    assert RunFolder(Path("runs/mine")).status("omni") == "finished"
