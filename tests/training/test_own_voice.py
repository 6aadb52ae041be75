"""``muomni train voice``: from a folder of recordings to a package with one more voice, in which the old ones are as
they were."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from muomni_cli.commands import models, train_voice
from muomni_cli.commands.train import train
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_cli.core.errors import RequestError
from muomni_cli.generation.loop import Sampling, draw
from muomni_cli.models.engines import open_found
from muomni_cli.models.locate import model_named
from muomni_cli.runs.run import RunFolder
from muomni_cli.training import own_voice
from muomni_cli.voice.synthesis import voice_of
from tests.training.test_speech_stages import PITCHES, RATE, RECIPE, run, tones

pytestmark = pytest.mark.long

WORDS = ["".join(word) for word in itertools.permutations("abcd", 3)] + ["abcd", "dcba", "bad", "cabba"]
FEW = ("steps=2", "train.talker.steps=3", "batch_size=4", "val_every=0", "save_every=1", "threads=1")


class Ears:
    """They hear the pitch of every letter."""

    def fit(self, inputs: Any, texts: Sequence[str]) -> list[float]:
        each = RATE // 5
        said = inputs[RATE // 10 :]
        letters = [said[at : at + each] for at in range(0, said.size - each + 1, each)]
        heard = "".join(min(PITCHES, key=partial(self._away, one)) for one in letters)
        return [-3.0 * sum(a != b for a, b in itertools.zip_longest(heard, text)) / len(text) for text in texts]

    def _away(self, letter: Any, name: str) -> float:
        spectrum = np.abs(np.fft.rfft(letter))
        return abs(float(spectrum.argmax()) * 5 - PITCHES[name])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a model that speaks, in two voices, and recordings of a third one."""
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        patched.setenv("MUOMNI_CACHE", str(root / "cache"))
        patched.setattr(own_voice, "aligner_of", lambda *_: (Ears(), EarsConfig(), Path()))
        torch.set_num_threads(1)
        rows = []
        for number, word in enumerate(WORDS[:12]):
            soundfile.write(f"{word}.wav", tones(word), RATE)
            rows.append({"audio": f"{word}.wav", "text": word, "voice": ("ann", "bob")[number % 2]})
        Path("world.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        Path("text.txt").write_text("".join(f"{word} and {word}\n" for word in WORDS) * 4)
        Path("small.toml").write_text(RECIPE)
        for stage in ("tokenizer", "thinker", "audio", "codec", "talker"):
            train(stage, "small.toml", ["steps=1", "val_every=0"] if stage != "tokenizer" else [])
        record(Path("mine"))
        yield root


class EarsConfig:
    sample_rate = RATE


def record(folder: Path) -> None:
    """Clips in the layout of LJSpeech: good ones, a silent one and one with another text."""
    (folder / "wavs").mkdir(parents=True)
    said = dict(zip(WORDS, WORDS, strict=True)) | {"silent": "abc", "wrong": "abcdabcdabcd"}
    for name in said:
        samples = 0 * tones("abc") if name == "silent" else tones("ab" if name == "wrong" else name)
        soundfile.write(folder / "wavs" / f"{name}.wav", samples, RATE)
    (folder / "metadata.csv").write_text("".join(f"{name}|{text}\n" for name, text in said.items()))


@pytest.fixture(scope="module")
def trained(world: Path) -> RunFolder:
    """The run of the new voice."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(train_voice, "say", told.append)
        train("voice", "mine", list(FEW), init="small")
    assert not [line for line in told if line.startswith("left out: ") and " of [[" in line], told
    return RunFolder(world / "runs" / "mine")


def codes(model: str, voice: str | None, text: str = "abba cab dad") -> np.ndarray[Any, Any]:
    """The code frames of a voice, sampled with seed 3."""
    engine = open_found(model_named(model), device="cpu")
    engine = engine.voice_models.get(voice or "", engine)
    sampler = partial(draw, sampling=Sampling(temperature=1.0), rng=np.random.default_rng(3))
    return np.concatenate(list(engine.talker().speak([TextChunk(text)], VoiceSettings(voice), sampler)))


def packaged(run: RunFolder) -> str:
    (found,) = (run.root / "package" / "src").glob("*/run")
    return str(found)


def test_a_folder_becomes_a_voice(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert {stage: trained.status(stage) for stage in ("codec", "talker")} == dict.fromkeys(
        ("codec", "talker"), "finished"
    )
    assert trained.model()["parts"]["talker"]["voices"] == ["mine"]
    listed = (trained.root / "clips/left-out.csv").read_text()
    assert "silent.wav,nothing is said" in listed
    assert "wrong.wav,does not say its text" in listed
    assert json.loads((trained.root / "clips/summary.json").read_text())["kept"] == len(set(WORDS))
    assert {row["stage"] for row in json.loads((trained.root / "scores.json").read_text())} == {"codec", "talker"}
    card = (trained.root / "package/README.md").read_text()
    assert "It speaks with the voices ann, bob and mine." in card
    for model in (str(trained.root), packaged(trained)):
        code, told = run(capsys, "tts", "abba cab", "-m", model, "--voice", "mine", "-o", "out.wav")
        assert code == 0, told
        assert soundfile.info("out.wav").frames > 0
    code, told = run(capsys, "tts", "abba", "-m", packaged(trained), "--voice", "eve", "-o", "eve.wav")
    assert code == 2
    assert "ann, bob, mine" in told


def test_a_voice_is_added_to_a_model_that_has_a_bundle(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    """The bundle lacks the voice, so it is left out, and that is said."""
    code, told = run(
        capsys, "models", "pack", "nano", "-o", "both", "--name", "our-nano", "--voice", f"mine={trained.root}"
    )
    assert code == 0, told
    assert "it has no bundle: muomni export --onnx -m our-nano" in told
    packed = Path("both/src/muomni_model_our_nano")
    assert {path.name for path in packed.iterdir()} == {"__init__.py", "plugin.py", "run"}
    assert np.array_equal(codes(str(packed / "run"), "mine"), codes(str(trained.root), "mine"))


def test_old_voices_are_as_they_were(trained: RunFolder) -> None:
    for voice in ("ann", "bob", None):
        before, after = codes("runs/small", voice), codes(packaged(trained), voice)
        assert np.array_equal(before, after)
    assert np.array_equal(codes(str(trained.root), "mine"), codes(packaged(trained), "mine"))
    new, old = codes(packaged(trained), "mine"), codes(packaged(trained), "ann")
    assert new.shape != old.shape or (new != old).any()


def test_it_goes_on_where_it_stopped(trained: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    kept = (trained.root / "clips/kept.jsonl").stat().st_mtime_ns
    train("voice", "mine", ["train.talker.steps=5"], init="small", resume=True)
    assert "codec of runs/mine is finished" in capsys.readouterr().err
    assert trained.model()["stages"]["talker"]["step"] == 5
    assert (trained.root / "clips/kept.jsonl").stat().st_mtime_ns == kept
    assert np.array_equal(codes(str(trained.root), "mine"), codes(packaged(trained), "mine"))


@pytest.mark.usefixtures("trained")
def test_what_cannot_be_done_is_refused_and_changes_nothing(world: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (world / "runs").rglob("*")}
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("mine", {"init": "small"}, "runs/mine exists already"),
        ("mine", {"init": "small", "run": "small"}, "is none of a voice"),
        ("mine", {"init": "small", "run": "new", "resume": True}, "no run runs/new to continue"),
        ("mine", {"init": "small", "resume": True, "voice": "eve"}, "is that of the voice mine"),
        ("mine", {}, "starts from a trained model"),
        ("mine", {"init": "small", "voice": "My voice"}, "not a valid name of a voice"),
        ("mine", {"init": "small", "run": "new", "dry_run": True}, "has no --devices, --dry-run"),
        ("none", {"init": "small", "run": "new"}, "there is no folder none"),
        ("runs", {"init": "small", "run": "new"}, "is in no known layout"),
    ]
    for folder, options, what in refused:
        with pytest.raises(RequestError, match=what):
            train("voice", folder, [], **options)
    with pytest.raises(RequestError, match="override 'nonsense=3'"):
        train("voice", "mine", ["nonsense=3"], init="small", run="new")
    with pytest.raises(RequestError, match="--voice names a new voice, and talker trains none"):
        train("talker", "small.toml", [], voice="eve")
    assert {path: path.stat().st_mtime_ns for path in (world / "runs").rglob("*")} == before


def test_a_voice_that_does_not_fit_is_not_packed(trained: RunFolder, world: Path) -> None:
    words = {"new=runs/small": "has no voice 'new'", "ann=runs/small": "has a voice 'ann' already", "new": "no voice"}
    for word, what in words.items():
        with pytest.raises(RequestError, match=what):
            models.pack("runs/small", world / "packed", voice=[word])
    assert not (world / "packed").exists()
    models.pack("runs/small", world / "packed", voice=[f"mine={trained.root}"])
    (found,) = (world / "packed/src").glob("*/run")
    assert np.array_equal(codes(str(found), "mine"), codes(str(trained.root), "mine"))


def test_settings_apply_to_every_stage_of_the_voice() -> None:
    assert own_voice.of_voice(["steps=4", "talker.dropout=0.3", "train.*.lr=1e-4"], ["codec", "talker"]) == [
        "train.codec.steps=4", "train.talker.steps=4", "talker.dropout=0.3", "train.codec.lr=1e-4",
        "train.talker.lr=1e-4",
    ]  # fmt: skip


@pytest.mark.slow
def test_an_exported_model_speaks_with_every_voice(trained: RunFolder, world: Path) -> None:
    from muomni_onnx.export import export
    from muomni_onnx.sources import find_trained, model_of

    report = export(model_of(find_trained(packaged(trained))), world / "bundle", notify=lambda _: None)
    assert {"talker", "mine:talker", "mine:codec"} <= {line.part for line in report.lines}
    assert (world / "bundle/voices/mine/muomni.json").is_file()
    engine = open_found(model_named(str(world / "bundle")), device="cpu")
    assert voice_of(engine).names == ["ann", "bob", "mine"]
    assert engine.verify() > 20
    for voice in ("bob", "mine"):
        assert np.array_equal(codes(str(world / "bundle"), voice), codes(packaged(trained), voice))
    (world / "bundle/voices/mine/muomni.json").write_text("{}")
    with pytest.raises(RequestError, match="is not what was exported"):
        _ = open_found(model_named(str(world / "bundle")), device="cpu").voice_models
