"""docs/interoperability.md, done from top to bottom in an empty folder with a small checkpoint of the name it uses."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from muomni_cli import app
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import get_registry
from tests.docs.readme import look_up
from tests.hf.conftest import write_checkpoint

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "interoperability.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
TOML = [text for language, text in BLOCKS if language == "toml"]
DATA = """
[[data.text]]
use = "text"
path = "text.txt"
[train]
steps = 2
batch_size = 1
threads = 1
device = "cpu"
val_every = 0
"""
PARTS = """
[encoders.image]
use = "vit"
[encoders.audio]
use = "listener"
[codec]
use = "rvq"
"""


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists(line: str) -> None:
    look_up(shlex.split(line)[1:])


def test_its_sources_of_data_are_a_recipe(tmp_path: Path) -> None:
    (sources,) = (text for text in TOML if "[[data." in text)
    path = tmp_path / "own.toml"
    path.write_text(f"{PARTS}{sources}", encoding="utf-8")
    found = load_recipe(str(path)).data.sources
    assert {name: [one.registered.part.name for one in group] for name, group in found.items()} == {
        "audio": ["librispeech"], "speech": ["ljspeech"], "image": ["webdataset"], "text": ["hf"],
    }  # fmt: skip
    section = PAGE.partition("## Data")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `([a-z-]+)` \| .* \| ", section, re.MULTILINE)[1:]
    known = {registered.part.name for registered in get_registry().all("dataset")}
    assert len(listed) == 8
    assert set(listed) <= known


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("gguf", "onnx", "onnxscript", "peft", "pyarrow", "transformers"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    folder = Path("SmolLM2-135M-Instruct")
    folder.mkdir()
    write_checkpoint(folder, "smollm 2", shards=False, max_position_embeddings=1024)
    Path("text.txt").write_text("\n\n".join(f"The hen laid {number} eggs." for number in range(90)), encoding="utf-8")
    Path("recipes").symlink_to(ROOT / "recipes")
    recipe, lora = TOML[0], next(one for one in TOML if "lora" in one)
    Path("mine.toml").write_text(recipe + DATA, encoding="utf-8")
    Path("tuned.toml").write_text(recipe + DATA + lora, encoding="utf-8")
    for line in COMMANDS:
        if "merge" in line:
            run("train thinker tuned.toml --init SmolLM2-135M-Instruct")
        run(line.removeprefix("muomni "))
    made = ["SmolLM2-135M-Instruct-onnx/muomni.json", "runs/merged/model.json", "adapter/adapter_config.json",
            "runs/again/model.json", "nano-hf/config.json", "nano.gguf", "nano-q8.gguf",
            "scenes/train.parquet"]  # fmt: skip
    assert [path for path in made if not Path(path).is_file()] == []


def run(line: str) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(shlex.split(line))
    assert not left.value.code, line
