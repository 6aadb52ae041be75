"""What is packed of a model and what is not, its card, and what is refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from muomni_cli import app
from muomni_cli.api import RequestError
from muomni_cli.models.model_card import uses
from muomni_cli.models.package import PackageOptions, pack
from muomni_cli.models.package_run import counts, pack_run, redact_paths, redact_toml
from muomni_cli.runs.digests import seal_checkpoint, verify
from muomni_cli.runs.run import RunFolder, checkpoint_metadata
from tests.models.installed import SCORE, Package

if TYPE_CHECKING:
    from tests.tiny_model import Whole

RECIPE = """# A recipe.
name = "small"

[[data.text]]
use = "text"
path = "/home/somebody/my texts/stories.txt" # theirs
license = "CC0"
labels = ["/m/0dxb5", "~/labels/a.txt"]
from = { heard = { path = "/home/somebody/heard", use = "spoken" } }
"""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose one stage has best and last weights, averages, and what training goes on from."""
    run = RunFolder(tmp_path / "runs" / "small")
    part = {"kind": "codec", "use": "rvq", "plugin": "muomni_rvq", "config": {}, "weights": "codec/last.safetensors"}
    run.record("codec", {"status": "finished", "step": 9}, part)
    metadata = checkpoint_metadata({"step": 7, "note": f"made in {tmp_path}/runs"})
    for name, value in (("best", 1.0), ("last", 2.0)):
        tensors = {
            "model.a": np.full((2, 3), value, np.float32),
            "model.big": np.array([1e6], np.float32),
            "model.count": np.array(3, np.int64),
            "ema.a": np.full((2, 3), 10 * value, np.float32),
            "optim.a.exp_avg": np.zeros((2, 3), np.float32),
            "rng.cpu": np.zeros(8, np.uint8),
            "log.lines": np.zeros(8, np.uint8),
        }
        (run.root / "codec").mkdir(exist_ok=True)
        save_file(tensors, run.root / "codec" / f"{name}.safetensors", metadata)
        seal_checkpoint(run.root / "codec" / f"{name}.safetensors")
    run.recipe_path.write_text(RECIPE)
    (run.root / "codec" / "metrics.jsonl").touch()
    (run.root / "lock.json").write_text(
        json.dumps({"command": [f"{tmp_path}/bin/muomni", f"data.text.0.path={tmp_path}/stories.txt"], "seed": 1})
    )
    return run


@pytest.mark.parametrize("half", [False, True])
def test_a_run_is_packed_with_its_best_averaged_weights_alone(half: bool, run: RunFolder, tmp_path: Path) -> None:
    pack_run(run, tmp_path / "packed", half=half)
    files = {path.relative_to(tmp_path / "packed").as_posix() for path in (tmp_path / "packed").rglob("*.*")}
    assert files == {"codec/best.safetensors", "recipe.toml", "lock.json", "model.json", "digests.json"}
    tensors = load_file(tmp_path / "packed/codec/best.safetensors")
    assert tensors.keys() == {"model.a", "model.big", "model.count"}
    assert tensors["model.a"].dtype == (np.float16 if half else np.float32)
    assert tensors["model.big"].dtype == np.float32, "too large for fp16"
    np.testing.assert_array_equal(tensors["model.a"], 10.0)
    assert counts(tmp_path / "packed/codec/best.safetensors")[""] == 8
    bundle = RunFolder(tmp_path / "packed")
    assert bundle.model()["name"] == "small"
    assert bundle.model()["parts"]["codec"]["weights"] == "codec/best.safetensors"
    assert verify(bundle.root) == 4


def test_nothing_packed_names_a_folder_of_the_machine(run: RunFolder, tmp_path: Path) -> None:
    pack_run(run, tmp_path / "packed", half=False)
    for path in (tmp_path / "packed").rglob("*.*"):
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content, path
        assert b"somebody" not in content, path
    recipe = tomllib.loads((tmp_path / "packed/recipe.toml").read_text())
    source = recipe["data"]["text"][0]
    assert source["path"] == "stories.txt"
    assert source["labels"] == ["/m/0dxb5", "a.txt"]
    assert source["from"] == {"heard": {"path": "heard", "use": "spoken"}}
    assert "# theirs" in (tmp_path / "packed/recipe.toml").read_text()
    lock = json.loads((tmp_path / "packed/lock.json").read_text())
    assert {**lock, "checksum": ""} == {
        "checksum": "", "command": ["muomni", "data.text.0.path=stories.txt"], "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    ["set:stories", "${MUOMNI_DATA:-../x}/a/b", "https://example.org/a/b", "yes/no", "/end", "/", "1/2", "a: b"],
)
def test_what_is_no_path_of_this_machine_stays(text: str) -> None:
    assert redact_paths(text) == text
    document = f'a = "{text}" # why\nb = [1, "{text}"]\n'
    assert redact_toml(document) == document


@pytest.mark.parametrize("text", ["~/a/x.txt", "/home/me/x.txt", "/home/me/a b/x.txt", r"C:\Users\me\x.txt"])
def test_of_a_path_the_name_is_left(text: str) -> None:
    assert redact_paths([{"a": text}]) == [{"a": "x.txt"}]


def test_an_unfinished_run_is_refused(run: RunFolder, tmp_path: Path) -> None:
    run.record("talker", {"status": "unfinished"})
    with pytest.raises(RequestError, match=r"talker of run .* is unfinished") as caught:
        pack(str(run.root), tmp_path / "out", PackageOptions())
    assert "--resume" in caught.value.fix
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere", "-o", "out"], "there is no model 'nowhere'"),
        (["{run}", "-o", "full"], "full is there already"),
        (["{run}", "-o", "out", "--bundle", "full"], "full is not an exported bundle"),
        (["{bundle}", "-o", "out", "--bundle", "{bundle}"], "is a bundle already"),
        (["{run}/omni/last.safetensors", "-o", "out"], "is a checkpoint, and a package contains a whole run"),
        (["{run}", "-o", "out", "--name", "Tiny model"], "'Tiny model' is not a valid model name"),
        (["{run}", "-o", "out", "--version", "new"], "'new' is not a valid version"),
        (["{run}", "-o", "out", "--scores", "full/note.json"], "does not contain the output of muomni eval"),
        (["{run}", "-o", "out", "--scores", "gone.json"], "cannot read gone.json"),
    ],
)
def test_wrong_requests(
    words: list[str],
    told: str,
    whole: Whole,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("full/note.json").write_text('{"a": 1}')
    with pytest.raises(SystemExit) as left:
        app.main(["models", "pack", *(word.format(run=whole.run, bundle=whole.bundle) for word in words)])
    assert left.value.code == 2
    assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_a_bundle_of_another_model_is_refused(whole: Whole, run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"codec of the bundle .* differs from that of run .* in code_dim and "):
        pack(str(run.root), tmp_path / "out", PackageOptions(bundle=whole.bundle))


def test_a_damaged_bundle_is_refused(whole: Whole, tmp_path: Path) -> None:
    shutil.copytree(whole.bundle, tmp_path / "bundle")
    (tmp_path / "bundle/thinker/embed.onnx").write_bytes(b"")
    with pytest.raises(RequestError, match=r"embed\.onnx is not what was exported"):
        pack(str(tmp_path / "bundle"), tmp_path / "out", PackageOptions("tiny"))


def test_the_package_is_named_and_dated_as_asked(package: Package) -> None:
    project: dict[str, Any] = tomllib.loads((package.source / "pyproject.toml").read_text())["project"]
    assert (project["name"], project["version"]) == ("muomni-model-tiny", "1.2")
    assert project["license"] == {"text": 'CC0 "as it is"'}
    assert project["dependencies"][0].startswith("muomni>=")
    assert project["entry-points"]["muomni"] == {"muomni_model_tiny": "muomni_model_tiny.plugin"}


def test_the_card_says_what_there_is_to_say(package: Package) -> None:
    card = (package.source / "README.md").read_text()
    assert card == (package.inside / "README.md").read_text()
    for told in (
        "# tiny",
        "Text, image and audio in, text and speech out.",
        "voices ann and bob",
        "muomni chat -m tiny",
        " init=tiny",
        "| thinker | omni | thinker `transformer` of muomni_thinker | d_model 32, n_layers 1, ctx_len 192, ",
        "| omni | colours | exact | 0.500 | 0.250 to 0.750 | 8 |",
        'CC0 "as it is"',
        "Not stated.",  # the run has no recipe
    ):
        assert told in card, told
    assert "Not measured" not in card
    assert SCORE["task"] in (package.inside / "scores.json").read_text()


def test_a_card_without_scores_says_how_to_get_them(whole: Whole, tmp_path: Path) -> None:
    pack(str(whole.bundle), tmp_path / "out", PackageOptions("tiny"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Not measured. Evaluate it: `muomni eval RECIPE -m tiny --json > scores.json`." in card
    assert "Not stated. Ask the author of this package" in card
    assert "train.omni.init" not in card, "a bundle cannot be trained"


def test_no_file_of_a_package_names_the_folder_it_was_made_of(package: Package, whole: Whole) -> None:
    for path in package.source.rglob("*"):
        if path.is_file():
            assert str(whole.run.parent).encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("stages", "does", "use"),
    [
        ({"audio"}, "audio in, text out", "muomni listen -m other FILE"),
        ({"codec", "vocoder"}, "speech in, speech out", "muomni models info other"),
        ({"codec", "vocoder", "talker"}, "text in, speech out", 'muomni tts -m other "Good morning." -o out.wav'),
        ({"codec", "talker", "audio"}, "text and audio in, text and speech out", "muomni tts"),
    ],
)
def test_a_model_of_some_parts_is_described_as_what_it_is(
    stages: set[str], does: str, use: str, whole: Whole, tmp_path: Path
) -> None:
    shutil.copytree(whole.run, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    for stage in run.model()["stages"].keys() - stages:
        run.forget(stage)
    about = pack(str(run.root), tmp_path / "out", PackageOptions("other"))
    assert about.facts["does"] == does
    assert uses("other", about.facts)[0].startswith(use)
