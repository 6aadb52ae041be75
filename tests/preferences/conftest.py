"""A tiny run of all parts, and a recipe with pairs for its Thinker and its Talker."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from muomni_cli import app
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.run import RunFolder
from tests.tiny_model import AUDIO, CODEC, IMAGE, TALKER, THINKER, VOCODER, make_run

TEXTS = ["A hen.", "The fox ran home.", "Hello there! It rains.", "One two three.", "No.", "Go on, hen."]
Muomni = Callable[..., int]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def value(one: Any) -> str:
    """A value of TOML on one line."""
    if isinstance(one, Mapping):
        return "{" + ", ".join(f"{key} = {value(own)}" for key, own in one.items()) + "}"
    return json.dumps(one)


def table(name: str, **values: Any) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value(own)}" for key, own in values.items()), ""])


TRAIN = {"device": "cpu", "threads": 1, "batch_size": 4, "schedule": "constant", "lr": 1e-3, "weight_decay": 0.0}
RECIPE = "\n".join(
    [
        'name = "whole"',
        table("tokenizer", use="bytes"),
        table("thinker", use="transformer", **THINKER),
        table("encoders.image", use="vit", **IMAGE),
        table("encoders.audio", use="listener", **AUDIO),
        table("codec", use="rvq", **CODEC),
        table("vocoder", use="vocos", **VOCODER),
        table("talker", use="cursor", **TALKER),
        table("[data.dpo]", use="preferences", path="answers.jsonl"),
        table("[data.talker_dpo]", use="preferences", path="utterances.jsonl"),
        table("train", **TRAIN, steps=4, val_every=2, save_every=2, log_every=1),
        table("chat", template="roles"),
    ]
)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def answers(count: int = 16) -> list[dict[str, Any]]:
    return [{"prompt": f"Say {n}", "chosen": "Yes, sir.", "rejected": "No."} for n in range(count)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run ``whole``, its recipe, and pairs for its Thinker."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "whole")
    (tmp_path / "whole.toml").write_text(RECIPE)
    write_lines(tmp_path / "answers.jsonl", answers())
    return tmp_path


@pytest.fixture
def policy(here: Path) -> Any:
    """The Talker of the run as a policy."""
    engine = RunEngine(RunFolder(here / "runs" / "whole"), device="cpu")
    part: Any = open_entry(engine.parts["talker"])[0].part
    return resolve(part.policy)(engine.speech_module("talker"))


@pytest.fixture
def utterances(here: Path, policy: Any) -> Path:
    """Pairs for the Talker: two utterances of each text, at random."""
    rows = []
    for number, text in enumerate(TEXTS):
        chosen, rejected = policy.sample(text, "ann", 2, 1.0, number)
        rows.append({"text": text, "voice": "ann", "chosen": chosen.tolist(), "rejected": rejected.tolist()})
    return write_lines(here / "utterances.jsonl", rows)


@pytest.fixture
def muomni() -> Muomni:
    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as left:
            app.main(list(words))
        return int(left.value.code or 0)

    return run
