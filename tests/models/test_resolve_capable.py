"""Where no model is named, the first that can do what is asked for is meant; one that is named never gives way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muomni_cli.api import ModelFiles
from muomni_cli.models import locate as finding
from muomni_cli.models.engines import CAN_CHAT, CAN_SPEAK
from muomni_cli.models.locate import (
    SPEECH,
    ModelRef,
    ModelRequirement,
    abilities_of,
    model_named,
    resolve_capable,
    resolve_model,
)
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry
from muomni_cli.runs.run import RunFolder
from tests.tiny_model import Whole

CLOCK = iter(range(1_000_000_000, 2_000_000_000, 10))


def make_run(name: str, *abilities: str) -> RunFolder:
    """A run that has learned to write, and whatever ``abilities`` says; later ones are newer."""
    run, now = RunFolder(Path("runs") / name), next(CLOCK)
    run.record("tokenizer", {"status": "finished"})
    modalities = [one for one in abilities if one != SPEECH]
    made = ["thinker", *(["omni"] if modalities else []), *(["talker", "codec"] if SPEECH in abilities else [])]
    for stage in made:
        parts = {"parts": {"thinker": {}, **{modality: {} for modality in modalities}}} if stage == "omni" else {}
        run.record(stage, {"status": "finished", **parts}, {} if stage != "omni" else None)
        weights = run.stage(stage) / "last.safetensors"
        weights.parent.mkdir(parents=True, exist_ok=True)
        weights.touch()
        os.utime(weights, (now, now))
    os.utime(run.model_path, (now, now))
    return run


@pytest.fixture(autouse=True)
def wren(tmp_path: Path, whole: Whole, no_model: list[Plugin], monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, and one installed model: ``wren``, which sees, hears and speaks."""
    monkeypatch.chdir(tmp_path)
    plugin = Plugin(PluginInfo("sparrow", "sparrow.plugin", "1.0", "built-in", "loaded"))
    plugin.parts.append(ModelFiles(name="wren", doc="small", bundle=whole.bundle))
    monkeypatch.setattr(finding, "get_registry", lambda: Registry([*no_model, plugin]))
    finding._notify.cache_clear()


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    return capsys


@pytest.mark.parametrize(
    ("abilities", "line"),
    [
        ([], ""),
        (["image"], "omni cannot see yet: wren answers\n"),
        (["audio"], "omni cannot hear yet: wren answers\n"),
        (["audio", "image"], "omni cannot see or hear yet: wren answers\n"),
        ([SPEECH], "omni cannot speak yet: wren answers\n"),
    ],
)
def test_what_a_run_of_text_alone_cannot_do_another_does(
    abilities: list[str], line: str, told: pytest.CaptureFixture[str]
) -> None:
    make_run("omni")
    for _ in range(2):
        assert resolve_capable(None, CAN_CHAT, abilities).name == ("wren" if abilities else "omni")
    assert told.readouterr().err == line


def test_an_older_run_that_can_comes_before_an_installed_model(told: pytest.CaptureFixture[str]) -> None:
    make_run("seer", "image")
    make_run("omni")
    assert resolve_capable(None, CAN_CHAT, ["image"]).name == "seer"
    assert resolve_capable(None, CAN_CHAT, ["image", "audio"]).name == "wren"
    assert told.readouterr().err == "omni cannot see yet: seer answers\nomni cannot see or hear yet: wren answers\n"


def test_the_newest_that_can_is_taken_in_silence(told: pytest.CaptureFixture[str]) -> None:
    make_run("omni")
    make_run("seer", "image", SPEECH)
    assert resolve_capable(None, CAN_CHAT, ["image", SPEECH]).name == "seer"
    assert told.readouterr().err == ""


def test_what_nobody_can_is_left_to_the_first_to_refuse(told: pytest.CaptureFixture[str]) -> None:
    make_run("omni")
    assert resolve_capable(None, CAN_CHAT, ["motion"]).name == "omni"
    assert told.readouterr().err == ""


@pytest.mark.parametrize("by", ["word", "environment"])
def test_a_model_that_is_named_never_gives_way(
    by: str, monkeypatch: pytest.MonkeyPatch, told: pytest.CaptureFixture[str]
) -> None:
    make_run("omni")
    if by == "environment":
        monkeypatch.setenv("MUOMNI_MODEL", "omni")
    assert resolve_capable("omni" if by == "word" else None, CAN_CHAT, ["image"]).name == "omni"
    assert told.readouterr().err == ""


def test_reading_aloud_goes_to_a_model_that_speaks(told: pytest.CaptureFixture[str]) -> None:
    make_run("omni")
    assert resolve_model(None, CAN_SPEAK).name == "wren"
    assert told.readouterr().err == "omni cannot speak yet: wren speaks\n"


def test_a_run_that_has_only_begun_is_named_by_what_it_lacks(told: pytest.CaptureFixture[str]) -> None:
    RunFolder(Path("runs/fresh")).record("thinker", {"status": "unfinished"})
    assert resolve_model(None, CAN_CHAT).name == "wren"
    assert told.readouterr().err == "fresh cannot answer yet: wren answers\n"


def test_without_runs_the_installed_model_is_named(told: pytest.CaptureFixture[str]) -> None:
    assert resolve_capable(None, CAN_CHAT, ["image"]).name == "wren"
    assert told.readouterr().err == "using the installed model wren\n"


def test_a_need_without_a_verb_does_not_guess_one(told: pytest.CaptureFixture[str]) -> None:
    make_run("omni")
    assert resolve_model(None, ModelRequirement(lambda _: None, "has anything")).name == "wren"
    assert told.readouterr().err == "no run here is suitable: using the installed model wren\n"


def test_abilities_of_a_bundle_and_of_the_run_that_it_was_made_of(whole: Whole) -> None:
    everything = {"image", "audio", SPEECH}
    assert abilities_of(model_named(str(whole.bundle))) == everything
    assert abilities_of(model_named(str(whole.run))) == everything
    assert abilities_of(ModelRef()) == frozenset()


def test_an_encoder_trained_alone_is_no_sense_of_the_thinker() -> None:
    run = make_run("omni")
    run.record("audio", {"status": "finished"}, {"kind": "encoder"})
    assert abilities_of(ModelRef(folder=run)) == frozenset()
