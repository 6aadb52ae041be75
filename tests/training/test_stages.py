"""The stages of a small real recipe, as the command trains them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from muomni_cli.commands.train import train
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_sealed_json
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import stages_of_all
from muomni_cli.runs.run import read_header
from muomni_cli.training.loop import Trainer
from tests.opening import run_engine

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


OMNI = """
[encoders.image]
use = "vit"
size = 16
patch = 8
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 32

[[data.omni]]
use = "asked"
count = 40
val_fraction = 0.2
[data.omni.from.image]
use = "scenes"
count = 20
[[data.omni.ask]]
question = ["What do you see?"]
answer = "{image.text}"
"""


def test_a_stage_without_a_long_one_before_names_the_command() -> None:
    Path("small.toml").write_text(RECIPE.replace("ctx_len = 16", "ctx_len = 96") + OMNI)
    with pytest.raises(RequestError, match="no thinker yet") as caught:
        train("omni", "small.toml", run="other")
    assert "muomni train thinker" in caught.value.fix
    assert not Path("runs").exists()


def test_a_stage_trains_the_tokenizer_that_it_needs_first(capsys: pytest.CaptureFixture[str]) -> None:
    train("thinker", "small.toml", run="other")
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "there is no tokenizer yet: training it first"
    assert sum(line.startswith("learning a tokenizer") for line in told) == 1
    train("all", "small.toml")
    assert "no tokenizer yet" not in capsys.readouterr().err
    for file in ("thinker/last.safetensors", "tokenizer/tokenizer.json"):
        made, step_by_step = (Path("runs", run, file) for run in ("other", "small"))
        if file.endswith(".json"):
            assert made.read_bytes() == step_by_step.read_bytes()
        else:
            one, two = load_file(made), load_file(step_by_step)
            assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("options", [{}, {"force": True}])
def test_a_tokenizer_that_cannot_be_made_leaves_nothing(options: dict[str, bool]) -> None:
    Path("text.txt").write_text("")
    with pytest.raises(RequestError, match="has no documents"):
        train("thinker", "small.toml", **options)
    assert not Path("runs").exists()


def test_a_stage_that_needs_no_tokenizer_trains_none(capsys: pytest.CaptureFixture[str]) -> None:
    eyes = OMNI.partition("[[data.omni]]")[0] + '[[data.image]]\nuse = "scenes"\ncount = 40\nobjects = [1]\n'
    Path("small.toml").write_text(RECIPE + eyes)
    train("image", "small.toml", ["steps=1"])
    assert not Path("runs/small/tokenizer").exists()
    assert "next: muomni train tokenizer small.toml" in capsys.readouterr().err


def test_all_then_talk_without_the_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    train("all", "small.toml")
    told = capsys.readouterr()
    assert told.out == ""
    assert "next: muomni chat -m small" in told.err
    assert "thinker/last.safetensors (step 4) and runs/small/thinker/best.safetensors (step " in told.err
    Path("small.toml").unlink()
    model = run_engine()
    thinker, tokenizer = model.omni().thinker, model.tokenizer()
    logits = thinker(torch.tensor([[1, *tokenizer.encode("the sea")]])).logits
    assert logits.shape[-1] == tokenizer.vocab_size
    assert model.chat["template"]
    header = read_header(Path("runs/small/thinker/best.safetensors"))
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
    model = read_json(path)
    model["stages"]["thinker"]["status"] = "unfinished"
    write_sealed_json(path, model)
    with pytest.raises(RequestError, match="unfinished") as caught:
        train("thinker", "small.toml")
    assert "--resume" in caught.value.fix
    assert "--force" in caught.value.fix
    before = files()
    with pytest.raises(RequestError, match="differs from the recipe in d_ff"):
        train("thinker", "small.toml", ["thinker.d_ff=48"], resume=True)
    assert files() == before
    train("thinker", "small.toml", resume=True)
    assert run_engine().run.status("thinker") == "finished"


def test_a_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    train("tokenizer", "small.toml")
    before = files()
    capsys.readouterr()
    train("thinker", "small.toml", dry_run=True, json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == sum(told["by_module"].values())
    assert told["items_a_step"] == 2 * 16
    assert files() == before


def test_a_dry_run_of_a_new_recipe_needs_no_run_and_makes_none(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.replace("ctx_len = 16", "ctx_len = 96") + OMNI)
    train("all", "small.toml", ["steps=3", "warmup_steps=0"], dry_run=True)
    said = capsys.readouterr()
    assert said.err.count("there is no tokenizer yet: training a temporary one for the dry run") == 1
    assert "random weights" in said.err
    thinker, omni, together = said.out.split("\n\n")
    assert "would write to  runs/small/thinker" in thinker
    assert "would write to  runs/small/omni" in omni
    assert together.splitlines()[-1].startswith("all ")
    assert not Path("runs").exists()


def test_a_dry_run_does_not_stand_in_for_a_part_that_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    Path("small.toml").write_text(RECIPE.replace("ctx_len = 16", "ctx_len = 96") + OMNI)
    train("thinker", "small.toml")
    train("omni", "small.toml", ["steps=2", "warmup_steps=0"], dry_run=True)
    assert "thinker: runs/small/thinker/best.safetensors" in capsys.readouterr().err


def test_all_says_what_to_try_next(capsys: pytest.CaptureFixture[str]) -> None:
    train("all", "small.toml", ["steps=1"])
    assert capsys.readouterr().err.splitlines()[-1] == 'next: muomni chat -m small "Once upon a time"'


def test_few_steps_are_said_once_and_resumed_bit_for_bit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("small.toml").write_text(
        RECIPE.replace("steps = 4", "steps = 40").replace("warmup_steps = 1", "warmup_steps = 20")
    )
    train("all", "small.toml", ["steps=6"], run="whole")
    assert capsys.readouterr().err.count("steps=6: warm-up shortened from 20 to 3 steps") == 1
    assert load_recipe("runs/whole/recipe.toml").train_for("thinker").warmup_steps == 3
    with monkeypatch.context() as patch:
        between = Trainer._between_steps

        def stop_after_four(self: Trainer, done: int) -> None:
            between(self, done)
            if done == 4:
                raise KeyboardInterrupt

        patch.setattr(Trainer, "_between_steps", stop_after_four)
        with pytest.raises(KeyboardInterrupt):
            train("thinker", "small.toml", ["steps=6"], run="parts")
    capsys.readouterr()
    train("thinker", "small.toml", ["steps=6"], run="parts", resume=True)
    assert "shortened" not in capsys.readouterr().err
    one, two = (load_file(f"runs/{run}/thinker/last.safetensors") for run in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


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


@pytest.mark.parametrize(
    ("stage", "fix"),
    [
        ("dpo", r"give it a \[thinker\] and pairs in \[\[data.dpo\]\]; its stages: tokenizer, thinker, all"),
        ("talker", r"give it a table \[talker\] with a part to train; its stages"),
        ("thinke", r"did you mean 'thinker'\? its stages"),
    ],
)
def test_a_stage_that_a_recipe_lacks_says_what_makes_it(stage: str, fix: str) -> None:
    with pytest.raises(RequestError, match="recipe tales has no stage") as caught:
        train(stage, "tales")
    assert re.search(fix, caught.value.fix)


def test_tensorboard_that_is_not_installed_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from muomni_tensorboard import TensorboardCallback, TensorboardConfig

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
    train("all", "small.toml", ["steps=3"], run="other")
    assert read_header(Path("runs/other/thinker/last.safetensors"))["step"] == 3
