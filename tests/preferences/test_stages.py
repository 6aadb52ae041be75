"""The stages on pairs, from the command line: what they write, what uses it, and what they refuse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from muomni_cli.core.checksums import sha256
from muomni_cli.models.package_run import pack_run
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.runs.run import RunFolder
from muomni_datasets.config import PreferencesConfig
from muomni_datasets.preferences import Preferences
from tests.preferences.conftest import Muomni, answers, write_lines

WEIGHTS = "omni/last.safetensors"
TEXT = 'data.text=[{use="tales", count=20}]'


def metrics(run: Path, stage: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / stage / "metrics.jsonl").read_text().splitlines()]


def assert_same(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.usefixtures("utterances")
@pytest.mark.parametrize("stage", ["dpo", "talker_dpo"])
def test_a_stage_tunes_its_part_and_leaves_what_it_began_with(
    stage: str, here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]
) -> None:
    run, part = here / "runs" / "whole", "omni" if stage == "dpo" else "talker"
    before = sha256(run / part / "last.safetensors")
    assert muomni("train", stage, "whole.toml") == 0
    assert "pairs once with the model as it is" in capsys.readouterr().err
    assert sha256(run / part / "last.safetensors") == before

    logs = [row for row in metrics(run, stage) if "loss" in row]
    assert abs(logs[0]["loss"] - 0.693147) < 1e-3  # log 2: the policy is the reference
    assert abs(logs[0]["margin"]) < 1e-3
    assert {"accuracy", "chosen", "rejected"} <= logs[0].keys()
    validations = [row for row in metrics(run, stage) if "val_loss" in row]
    assert validations[-1]["val_margin"] > 0 if stage == "dpo" else True

    engine = RunEngine(RunFolder(run), device="cpu")
    assert Path(str(engine.checkpoint(part))).parent.name == stage
    tuned = load_file(run / stage / "best.safetensors")
    began = load_file(run / part / "last.safetensors")
    changed = {name for name in began if not torch.equal(began[name], tuned[name])}
    frozen = ("model.encoders.", "model.projectors.") if stage == "dpo" else ("model.reader.", "model.framer.")
    assert changed
    assert not [name for name in changed if name.startswith(frozen)]

    # again, from the cache; resumed; and in two micro-batches
    shutil.copytree(run, here / "runs" / "short")
    assert muomni("train", stage, "whole.toml", "--run", "short", "--force", f"train.{stage}.steps=2") == 0
    assert "once with the model" not in capsys.readouterr().err
    assert muomni("train", stage, "whole.toml", "--run", "short", "--resume", f"train.{stage}.steps=4") == 0
    assert_same(run / stage / "last.safetensors", here / "runs" / "short" / stage / "last.safetensors")


@pytest.mark.usefixtures("utterances")
def test_a_tuned_run_chats_speaks_and_is_described(
    here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]
) -> None:
    assert muomni("train", "dpo", "whole.toml") == 0
    assert muomni("train", "talker_dpo", "whole.toml") == 0
    capsys.readouterr()
    assert muomni("chat", "-m", "whole", "Say 3") == 0
    assert "dpo/best.safetensors" in capsys.readouterr().err
    assert muomni("tts", "-m", "whole", "A hen.", "-o", "hen.wav") == 0
    assert (here / "hen.wav").stat().st_size > 1000
    assert muomni("models", "info", "whole", "--json") == 0
    rows = {row["part"]: row["stage"] for row in json.loads(capsys.readouterr().out)["parts"]}
    assert rows["thinker"] == rows["image"] == "dpo"
    engine = RunEngine(RunFolder(here / "runs" / "whole"), here / "runs" / "whole" / WEIGHTS, device="cpu")
    assert engine.checkpoint("omni") == here / "runs" / "whole" / WEIGHTS  # the one that is named


@pytest.mark.usefixtures("utterances")
def test_a_run_begins_with_another_model_and_gets_its_voice(muomni: Muomni) -> None:
    pack_run(RunFolder(Path("runs/whole")), Path("packed"), half=False)  # whose files have no checksums of their own
    for stage, lora in (("dpo", "lora={rank=2}"), ("talker_dpo", "steps=2")):
        words = (f"train.{stage}.init=packed", f"train.{stage}.{lora}")
        assert muomni("train", stage, "whole.toml", "--run", "new", *words) == 0
    assert muomni("chat", "-m", "new", "Say 3") == 0
    assert muomni("tts", "-m", "new", "A hen.", "-o", "hen.wav") == 0
    pack_run(RunFolder(Path("runs/new")), Path("packed-new"), half=False)
    assert sorted(path.name for path in Path("packed-new").iterdir() if path.is_dir()) == [
        "codec",
        "dpo",
        "talker_dpo",
        "tokenizer",
        "vocoder",
    ]
    assert muomni("tts", "-m", "packed-new", "A hen.", "-o", "hen.wav") == 0
    assert muomni("models", "merge", "new", "-o", "runs/merged") == 0
    assert muomni("chat", "-m", "merged", "Say 3") == 0


def test_bad_pairs_are_named_and_left_out(here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [
        {"prompt": "x", "chosen": "a", "rejected": "a"},
        {"prompt": "x", "chosen": " ", "rejected": "a"},
        {"prompt": "x" * 300, "chosen": "b", "rejected": "a"},
    ]
    write_lines(here / "answers.jsonl", [*answers(), *bad])
    assert muomni("train", "dpo", "whole.toml") == 0
    told = capsys.readouterr().err
    for reason in ("line 17 has the same answer", "line 18 has an empty answer as chosen", "longer than the context"):
        assert reason in told
    write_lines(here / "answers.jsonl", bad)
    assert muomni("train", "dpo", "whole.toml", "--force") == 2
    told = capsys.readouterr().err
    assert "no pair of [[data.dpo]] can be used" in told
    assert "fix:" in told
    write_lines(here / "answers.jsonl", [])
    assert muomni("train", "dpo", "whole.toml", "--force") == 2
    assert "[[data.dpo]] has no pairs" in capsys.readouterr().err


@pytest.mark.usefixtures("utterances")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("dpo", "train.dpo.init=random"), "tunes a trained model"),
        (("dpo", "--run", "none"), "has no trained thinker that dpo could tune"),
        (("talker_dpo", "--run", "none"), "has no trained talker that talker_dpo could tune"),
        (("dpo", "thinker.rope_theta=5000.0"), "differs from the recipe in rope_theta"),
        (("dpo", "train.dpo.label_smoothing=0.5"), "label_smoothing"),
        (("talker_dpo", 'data.talker_dpo=[{use="preferences", path="answers.jsonl"}]'), "belong in [[data.dpo]]"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    words: tuple[str, ...], told: str, muomni: Muomni, capsys: pytest.CaptureFixture[str]
) -> None:
    assert muomni("train", words[0], "whole.toml", *words[1:]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "fix:" in error or "mistake" in error


def test_utterances_of_another_talker_are_refused(
    utterances: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in utterances.read_text().splitlines()]
    write_lines(utterances, [row | {"chosen": row["chosen"][:-1]} for row in rows])
    assert muomni("train", "talker_dpo", "whole.toml") == 2
    assert "and this Talker says it in" in capsys.readouterr().err


def test_the_weights_that_a_stage_began_with_stay(
    here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]
) -> None:
    assert muomni("train", "dpo", "whole.toml", "train.dpo.steps=2") == 0
    run = here / "runs" / "whole"
    (run / "omni" / "last.safetensors").rename(run / "omni" / "best.safetensors")
    assert muomni("train", "dpo", "whole.toml", "--resume") == 0  # the same weights
    weights = load_file(run / "omni" / "best.safetensors")
    assert weights
    (run / "omni" / "best.safetensors").write_bytes((run / "dpo" / "best.safetensors").read_bytes())
    assert muomni("train", "dpo", "whole.toml", "--resume", "train.dpo.steps=6") == 2
    assert "began from other weights" in capsys.readouterr().err


def test_a_dry_run_does_without_trained_weights(here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str]) -> None:
    assert muomni("train", "dpo", "whole.toml", "--run", "none", "--dry-run", TEXT) == 0
    assert "dpo" in capsys.readouterr().out
    assert not (here / "runs" / "none").exists()


@pytest.mark.usefixtures("utterances")
def test_data_check_reads_pairs(muomni: Muomni, capsys: pytest.CaptureFixture[str]) -> None:
    assert muomni("data", "check", "whole.toml", "--json") == 0
    found = {row["table"]: row for row in json.loads(capsys.readouterr().out)["validating"]}
    assert found["dpo"]["train"] + found["dpo"]["val"] == 16
    assert found["talker_dpo"]["train"] + found["talker_dpo"]["val"] == 6
    for table in ("dpo", "talker_dpo"):  # what is exported is read again
        assert muomni("data", "export", "whole.toml", "--table", table, "--split", "train", "-o", table) == 0
        listed = Path(table) / "examples.jsonl"
        pairs = list(Preferences(PreferencesConfig(path=str(listed))).documents())
        assert len(pairs) == len(listed.read_text().splitlines()) > 0
    assert muomni("data", "export", "whole.toml", "--table", "dpo", "-o", "pairs.parquet", "--parquet") == 2
