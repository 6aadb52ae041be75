"""The stages of a small real recipe, as the command trains them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from muomni_cli.commands.train import train
from muomni_cli.errors import RequestError
from muomni_cli.files import read_json
from muomni_cli.recipe import load_recipe
from muomni_cli.recipe.stages import stages_of_all
from muomni_cli.runs.header import read_header
from muomni_cli.runs.model import find_model

RECIPE = """
name = "small"

[tokenizer]
use = "bpe"
vocab_size = 300

[thinker]
use = "transformer"
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32
ctx_len = 16

[[data.text]]
use = "text"
path = "text.txt"
split = "line"

[data]
val_fraction = 0.2

[train]
device = "cpu"
threads = 1

[train.thinker]
steps = 4
batch_size = 2
warmup_steps = 1
precision = "fp32"
log_every = 1
val_every = 2
save_every = 2
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    lines = (f"Line {n}: the {n % 7} cats and {n % 5} dogs ran up the hill to see the sea.\n" for n in range(200))
    Path("text.txt").write_text("".join(lines))
    return tmp_path


def files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}


def test_a_stage_without_the_one_before_names_the_command() -> None:
    with pytest.raises(RequestError, match="no tokenizer yet") as caught:
        train("thinker", "small.toml", run="other")
    assert "muomni train tokenizer" in caught.value.fix
    assert "--run other" in caught.value.fix
    assert not Path("runs").exists()


def test_all_then_talk_without_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    train("all", "small.toml")
    told = capsys.readouterr()
    assert told.out == ""
    assert "next: muomni chat -m small" in told.err
    assert "thinker/last.safetensors (step 4) and runs/small/thinker/best.safetensors (step " in told.err
    Path("small.toml").unlink()
    model = find_model()
    thinker, tokenizer = model.thinker("cpu"), model.tokenizer()
    logits = thinker(torch.tensor([[1, *tokenizer.encode("the sea")]])).logits
    assert logits.shape[-1] == tokenizer.vocab_size
    assert model.chat.template
    header = read_header(model.weights)
    assert header["part"]["config"]["d_model"] == 16
    lock = read_json(Path("runs/small/lock.json"))
    assert {"python", "platform", "packages", "plugins", "data", "seed", "command"} <= lock.keys()
    assert lock["plugins"]["muomni_thinker"]["sha256"]
    assert lock["data"]["text"]


def test_finished_stages_are_left_alone_and_forced_ones_trained_again(capsys: pytest.CaptureFixture[str]) -> None:
    train("all", "small.toml")
    before = files()
    capsys.readouterr()
    train("all", "small.toml")
    assert files() == before
    assert "--force" in capsys.readouterr().err
    train("thinker", "small.toml", ["train.thinker.steps=2"], force=True)
    assert read_header(Path("runs/small/thinker/last.safetensors"))["step"] == 2
    train("thinker", "small.toml", ["train.thinker.steps=3"], resume=True)
    assert read_header(Path("runs/small/thinker/last.safetensors"))["step"] == 3
    with pytest.raises(RequestError, match="was trained with this tokenizer"):
        train("tokenizer", "small.toml", force=True)


def test_an_unfinished_stage_offers_both_ways_out() -> None:
    train("all", "small.toml")
    path = Path("runs/small/model.json")
    model = json.loads(path.read_text())
    model["stages"]["thinker"]["status"] = "unfinished"
    path.write_text(json.dumps(model))
    with pytest.raises(RequestError, match="unfinished") as caught:
        train("thinker", "small.toml")
    assert "--resume" in caught.value.fix
    assert "--force" in caught.value.fix
    before = files()
    with pytest.raises(RequestError, match="another d_ff than"):
        train("thinker", "small.toml", ["thinker.d_ff=48"], resume=True)
    assert files() == before
    train("thinker", "small.toml", resume=True)
    assert find_model().run.status("thinker") == "finished"


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train("tokenizer", "small.toml")
    before = files()
    capsys.readouterr()
    train("thinker", "small.toml", dry_run=True, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == sum(told["by_module"].values())
    assert told["items_a_step"] == 2 * 16
    assert files() == before


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ("talker", {}),
        ("thinker", {"resume": True}),
        ("thinker", {"resume": True, "force": True}),
        ("thinker", {"run": "../x"}),
        ("thinker", {"json": True}),
        ("tokenizer", {"dry_run": True}),
    ],
)
def test_requests_that_make_no_sense(stage: str, options: dict) -> None:
    with pytest.raises(RequestError) as caught:
        train(stage, "small.toml", **options)
    assert caught.value.fix
    assert not Path("runs").exists()


def test_tensorboard_that_is_not_installed_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from muomni_tensorboard.config import TensorboardConfig
    from muomni_tensorboard.writer import TensorboardCallback

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RequestError, match="needs tensorboard") as caught:
        TensorboardCallback(TensorboardConfig())
    assert "muomni[tensorboard]" in caught.value.fix


def test_all_leaves_out_encoders_without_data() -> None:
    Path("small.toml").write_text(RECIPE + '[encoders.audio]\nuse = "listener"\n')
    train("all", "small.toml")
    assert sorted(path.name for path in Path("runs/small").iterdir() if path.is_dir()) == ["thinker", "tokenizer"]
    with pytest.raises(RequestError):
        train("audio", "small.toml")
    with Path("small.toml").open("a") as file:
        file.write('[[data.audio]]\nuse = "text"\npath = "text.txt"\n')
    assert stages_of_all(load_recipe("small.toml")) == ["tokenizer", "thinker", "audio"]


def test_settings_of_the_stage_s_training_need_no_table() -> None:
    train("tokenizer", "small.toml")
    train("thinker", "small.toml", ["steps=2", "train.thinker.val_every=1"])
    assert read_header(Path("runs/small/thinker/last.safetensors"))["step"] == 2
    with pytest.raises(RequestError) as caught:
        train("all", "small.toml", ["steps=2"], run="other")
    assert "unknown key 'steps'" in str(caught.value)
