"""`train.omni.init` names a model: what is taken from it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from muomni_cli.api import RequestError
from muomni_cli.commands.train import train
from muomni_cli.models.package import PackageOptions, pack
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import stages_of_all
from muomni_cli.runs.checkpoint import read_checkpoint
from muomni_cli.runs.run import RunFolder
from tests.models.installed import see
from tests.tiny_model import AUDIO, IMAGE, THINKER

if TYPE_CHECKING:
    from tests.tiny_model import Whole


def table(settings: dict[str, int]) -> str:
    return "\n".join(f"{key} = {value}" for key, value in settings.items())


RECIPE = f"""
name = "mine"
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
{table(THINKER)}
[encoders.image]
use = "vit"
{table(IMAGE)}
[encoders.audio]
use = "listener"
{table(AUDIO)}
[[data.omni]]
use = "conversations"
path = "world.jsonl"
[train]
device = "cpu"
threads = 1
[train.omni]
init = "small"
steps = 1
batch_size = 2
lr = 1e-9
val_every = 0
"""


@pytest.fixture(autouse=True)
def world(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model of all parts is installed as ``test_config``, its weights in fp16; the recipe ``mine`` is here."""
    monkeypatch.chdir(tmp_path)
    pack(str(whole.run), tmp_path / "package", PackageOptions("small", half=True))
    see(tmp_path / "package" / "src", "muomni_model_small", monkeypatch)
    Path("mine.toml").write_text(RECIPE)
    media = {"image": str(whole.picture), "audio": str(whole.sound)}
    example = {"messages": [{"role": "user", "content": "hi", **media}, {"role": "assistant", "content": "ho"}]}
    Path("world.jsonl").write_text(
        "".join(json.dumps(example | {"split": s}) + "\n" for s in ("train", "train", "val"))
    )


def weights(path: Path | str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in read_checkpoint(Path(path)).tensors.items() if name.startswith("model.")}


def test_thinker_encoders_projectors_and_tokenizer_are_taken(whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
    train("omni", "mine.toml")
    told = capsys.readouterr().err
    for part in ("tokenizer", "thinker", "image", "audio"):
        assert f"{part}: " in told
    assert "muomni_model_small/run/omni/last.safetensors" in told
    assert "next: muomni chat -m mine" in told
    before, after = weights(whole.run / "omni/last.safetensors"), weights("runs/mine/omni/last.safetensors")
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, before[name].half().float(), atol=1e-6, rtol=0)
    held = json.loads(Path("runs/mine/model.json").read_text())
    assert held["stages"]["tokenizer"]["status"] == "finished"
    assert held["parts"]["tokenizer"]["vocab_size"] == 262
    train("omni", "mine.toml", ["train.omni.steps=2"], resume=True)


def test_a_dry_run_writes_nothing() -> None:
    train("omni", "mine.toml", dry_run=True)
    assert not Path("runs").exists()


def test_an_encoder_may_come_from_elsewhere(whole: Whole) -> None:
    train("omni", "mine.toml", [f'train.omni.init_encoders={{audio="{whole.run}"}}'])
    after = weights("runs/mine/omni/last.safetensors")
    own = weights(whole.run / "audio/last.safetensors")
    before = weights(whole.run / "omni/last.safetensors")
    name = "model.encoders.audio.blocks.0.attention.qkv.weight"
    torch.testing.assert_close(after[name], own[name.replace("encoders.audio", "encoder")], atol=1e-6, rtol=0)
    fresh = "model.projectors.audio.weight"
    assert not torch.allclose(after[fresh], before[fresh].half().float()), "it was tuned for another encoder"


def test_a_thinker_alone_is_taken_and_an_encoder_that_it_lacks_is_not() -> None:
    image = RECIPE[RECIPE.index("[encoders.image]") : RECIPE.index("[encoders.audio]")]
    Path("heard.toml").write_text(RECIPE.replace(image, ""))
    example = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}
    Path("world.jsonl").write_text(
        "".join(json.dumps(example | {"split": s}) + "\n" for s in ("train", "train", "val"))
    )
    Path("text.txt").write_text("".join(f"line {n} of some text\n" for n in range(200)))
    text = ['data.text=[{use="text",path="text.txt",split="line"}]', "train.steps=1", "train.batch_size=1"]
    for stage in ("tokenizer", "thinker"):
        train(stage, "heard.toml", text, run="base")
    with pytest.raises(RequestError, match="run runs/heard has no audio yet"):
        train("omni", "heard.toml", ["train.omni.init=base"], run="heard")
    train("omni", "heard.toml", ["train.omni.init=base", "train.omni.init_encoders.audio=small"], run="heard")
    after, base = weights("runs/heard/omni/last.safetensors"), weights("runs/base/thinker/last.safetensors")
    for name, tensor in base.items():
        torch.testing.assert_close(after[name.replace("model.", "model.thinker.")], tensor, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "what", "fix"),
    [
        (
            "thinker.d_ff=48",
            "thinker of small differs from the recipe in d_ff",
            "set in [thinker]: d_ff",
        ),
        (
            "encoders.image.tokens=1",
            "image of small differs from the recipe in tokens",
            "set in [encoders.image]: tokens = 2",
        ),
        (
            'tokenizer={use="bpe",vocab_size=300}',
            "tokenizer of small differs from the recipe in use",
            "set in [tokenizer]",
        ),
        ('train.omni.init="smal"', "train.omni.init: there is no model 'smal'", "did you mean 'small'?"),
    ],
)
def test_other_parts_are_refused(change: str, what: str, fix: str) -> None:
    with pytest.raises(RequestError) as caught:
        train("omni", "mine.toml", [change])
    assert what in caught.value.what
    assert fix in caught.value.fix
    assert not Path("runs").exists()


def test_another_tokenizer_in_the_run_is_refused() -> None:
    Path("text.txt").write_text("".join(f"line {n} of some text\n" for n in range(200)))
    text = 'data.text=[{use="text",path="text.txt"}]'
    train("tokenizer", "mine.toml", ['tokenizer={use="bpe",vocab_size=270}', text], run="bpe")
    with pytest.raises(RequestError, match="tokenizer of runs/bpe differs from the recipe in use"):
        train("omni", "mine.toml", run="bpe")
    train("tokenizer", "mine.toml", [text])
    (Path("runs/mine/tokenizer") / "more.txt").touch()
    mine = RunFolder(Path("runs/mine"))
    mine.record("tokenizer", {}, mine.model()["parts"]["tokenizer"])  # as if it had been trained like this
    with pytest.raises(RequestError, match="run runs/mine has a different tokenizer than small"):
        train("omni", "mine.toml")


def test_all_stages_are_those_that_are_left() -> None:
    assert stages_of_all(load_recipe("mine.toml")) == ["omni"]
    assert "thinker" in stages_of_all(load_recipe("mine.toml", ['train.omni.init="trained"']))
