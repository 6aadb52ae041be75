"""A run that speaks, made of tiny parts with random weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from muomni_cli import app
from muomni_cli.api import CodeShape
from muomni_cli.registry import loading as plugins
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder

RECIPE = """
name = "tiny"

[codec]
use = "tinycodec"

[talker]
use = "tinytalker"

[vocoder]
use = "{vocoder}"
"""

MakeRun = Callable[..., RunFolder]
Tts = Callable[..., "tuple[int, str, str]"]


@pytest.fixture(autouse=True)
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The parts of ``parts/`` are installed."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "parts"))
    monkeypatch.setattr(plugins, "BUILTINS", (*plugins.BUILTINS, "tiny_speech"))
    get_registry.cache_clear()
    yield
    get_registry.cache_clear()
    sys.modules.pop("tiny_speech", None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_run(here: Path) -> MakeRun:
    """``make_run("a", without=["talker"], vocoder="learned")``: a run whose recipe names a vocoder, and what is trained
    of it."""

    def make(
        name: str = "tiny", *, without: tuple[str, ...] = (), vocoder: str = "ready", width: int = 0, seed: int = 0
    ) -> RunFolder:
        run = RunFolder(here / "runs" / name)
        run.root.mkdir(parents=True)
        run.recipe_path.write_text(RECIPE.format(vocoder=vocoder))
        torch.manual_seed(seed)
        codec = _record(run, "codec", "tinycodec", {}, skip="codec" in without)
        shape = CodeShape(codec.codebooks, codec.codebook_size, 0.08)
        conversations = {"codes": asdict(shape), "voices": ["ann", "bob"], "thinker_width": width}
        _record(run, "talker", "tinytalker", conversations, skip="talker" in without)
        mel = {"mel": codec.mel.model_dump(mode="json")}
        _record(run, "vocoder", "learned", mel, skip=vocoder == "ready" or "vocoder" in without)
        return run

    return make


def _record(run: RunFolder, stage: str, use: str, more: dict[str, Any], *, skip: bool) -> Any:
    kind = "vocoder" if stage == "vocoder" else stage
    registered = get_registry().get(kind, use)
    config = registered.part.config()
    module = build_part(registered, config, more)
    if not skip:
        wrapped = nn.ModuleDict({"vocoder": module}) if kind == "vocoder" else module
        tensors = {"model": model_tensors(wrapped)}
        write_checkpoint(run.stage(stage) / "last.safetensors", {"step": 7}, tensors)
        entry = part_entry(registered, config, f"{stage}/last.safetensors", **more)
        run.record(stage, {"status": "finished"}, entry)
    return module


@pytest.fixture
def tts(capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, bytes, str]]:
    """``tts("hello", "-o", "a.wav")`` gives the exit code, stdout and stderr."""

    def call(*words: str, verb: str = "tts") -> tuple[int, bytes, str]:
        with pytest.raises(SystemExit) as raised:
            app.main([verb, *words])
        assert isinstance(raised.value.code, int)
        out, err = capsysbinary.readouterr()
        return raised.value.code, out, err.decode()

    return call
