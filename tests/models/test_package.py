"""A model that travelled as a package does what it did before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muomni_cli import app, load
from muomni_cli.api import FileMedia, RequestError
from muomni_cli.inference.chat_model import Answer
from muomni_cli.inference.settings import ChatOptions
from muomni_cli.models.package import PackageOptions, pack
from muomni_cli.models.package_run import weights_of
from muomni_cli.runs.run import RunFolder
from tests.models.installed import Package, see
from tests.opening import open_chat

if TYPE_CHECKING:
    from tests.tiny_model import Whole

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "torchaudio", "onnx", "onnxscript", "transformers"}
SCRIPT = """
import sys
from muomni_cli.app import main
try:
    main(sys.argv[1:])
finally:
    print("loaded:", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def muomni(package: Package, cwd: Path, *words: str | Path) -> tuple[str, set[str]]:
    """What a process that sees the package writes to stdout, and the modules that it loaded."""
    roots = os.pathsep.join(map(str, (package.site, ROOT, ROOT / "plugins", ROOT / "exports")))
    variables = os.environ | {"PYTHONPATH": roots, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, cwd=cwd, env=variables, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.splitlines()[-1].removeprefix("loaded: ").split())


def answer(spec: str, whole: Whole) -> str:
    """To a question about a picture and a sound."""
    speaker, settings = open_chat(spec, ChatOptions(max_tokens=12), device="cpu", threads=1)
    media = [FileMedia("image", whole.picture), FileMedia("audio", whole.sound)]
    ids = speaker.prompt("hello", media, settings)
    return "".join(said.text for said in speaker.answer(ids, settings, Answer()))


def test_it_is_listed_without_reading_weights(package: Package, tmp_path: Path) -> None:
    out, loaded = muomni(package, tmp_path, "models", "list", "--json")
    assert loaded & (HEAVY | {"onnxruntime", "safetensors", "numpy"}) == set()
    (entry,) = (one for one in json.loads(out) if one["package"] != "built-in")
    told = {key: entry[key] for key in ("name", "use", "package", "version", "license")}
    assert told == {
        "name": "tiny",
        "use": "tiny",
        "package": "muomni-model-tiny",
        "version": "1.2",
        "license": 'CC0 "as it is"',
    }
    assert Path(entry["card"]) == package.inside / "README.md"


def test_where_no_model_is_named_it_answers_without_pytorch(package: Package, whole: Whole, tmp_path: Path) -> None:
    words = ["chat", "hello", "--image", whole.picture, "--audio", whole.sound, "--max-tokens", "12"]
    out, loaded = muomni(package, tmp_path, *words)
    assert loaded & HEAVY == set()
    assert out.removesuffix("\n") == answer(str(whole.bundle), whole)


@pytest.mark.usefixtures("seen")
def test_what_it_says_aloud_is_the_same(whole: Whole) -> None:
    made = {}
    for spec in ("tiny", str(whole.bundle)):
        with pytest.raises(SystemExit) as left:
            app.main(["tts", "hello", "-m", spec, "-o", "said.wav", "--threads", "1"])
        assert left.value.code == 0
        made[spec] = Path("said.wav").read_bytes()
        Path("said.wav").unlink()
    assert len(set(made.values())) == 1


@pytest.mark.usefixtures("seen")
def test_as_a_library_its_name_is_enough(whole: Whole) -> None:
    with load("tiny", threads=1) as named, load(whole.bundle, threads=1) as opened:
        assert named.chat("hello", max_tokens=5) == opened.chat("hello", max_tokens=5)
    with pytest.raises(RequestError, match="nobody"):
        load("nobody")


@pytest.mark.usefixtures("seen")
def test_its_graphs_agree_and_its_name_is_enough_to_check_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        app.main(["export", "check", "tiny"])
    assert left.value.code == 0
    assert "tiny is whole and agrees" in capsys.readouterr().err


@pytest.mark.parametrize("half", [False, True])
def test_a_run_alone_answers_as_before(
    half: bool, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(str(whole.run), tmp_path / "package", PackageOptions("other", half=half))
    see(tmp_path / "package" / "src", "muomni_model_other", monkeypatch)
    said = answer("other", whole)
    assert len(said) > 2
    if not half:
        assert said == answer(str(whole.run), whole)
    weights = Path("omni/last.safetensors")
    size = (tmp_path / "package/src/muomni_model_other/run" / weights).stat().st_size
    assert (size < 0.8 * (whole.run / weights).stat().st_size) == half


def test_what_omni_has_tuned_can_go_without_its_own_stage(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(whole.run)
    own = [stage for stage in weights_of(run) if stage in run.model()["stages"]["omni"]["parts"]]
    pack(str(whole.run), tmp_path / "package", PackageOptions("lean", without=own))
    bundle = tmp_path / "package/src/muomni_model_lean/run"
    assert not [stage for stage in own if (bundle / stage).exists()]
    see(tmp_path / "package" / "src", "muomni_model_lean", monkeypatch)
    assert answer("lean", whole) == answer(str(whole.run), whole)
    for fixed in ("omni", "thinker", "nothing"):
        with pytest.raises(RequestError, match=f"{fixed} cannot be left out"):
            pack(str(whole.run), tmp_path / "again", PackageOptions("lean", without=[fixed]))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("run/omni/last.safetensors", ["trace", "hello", "-m", "muomni_model_tiny:tiny", "--tokens", "1"]),
        ("bundle/thinker/embed.onnx", ["chat", "hello", "-m", "tiny"]),
    ],
)
def test_a_damaged_file_is_refused(
    file: str,
    words: list[str],
    package: Package,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(package.site, tmp_path / "site")
    if file.startswith("run"):
        shutil.rmtree(tmp_path / "site/muomni_model_tiny/bundle/thinker")
        (tmp_path / "site/muomni_model_tiny/bundle/muomni.json").unlink()
    harmed = tmp_path / "site/muomni_model_tiny" / file
    content = bytearray(harmed.read_bytes())
    content[-1] ^= 1
    harmed.write_bytes(content)
    see(tmp_path / "site", "muomni_model_tiny", monkeypatch)
    with pytest.raises(SystemExit) as left:
        app.main(words)
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert re.search(rf"{Path(file).name} (is not what was exported|has changed since it was packed)", err)


def test_info_says_what_is_inside(seen: Package, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        app.main(["models", "info", "tiny", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["does"] == "text, image and audio in, text and speech out"
    assert (told["transcribes"], told["voices"], told["context"]) == (True, ["ann", "bob"], 192)
    assert [(part["part"], part["stage"]) for part in told["parts"]] == [
        ("thinker", "omni"),
        ("image", "omni"),
        ("audio", "omni"),
        ("tokenizer", "tokenizer"),
        ("codec", "codec"),
        ("talker", "talker"),
        ("vocoder", "vocoder"),
        ("audio", "audio"),
    ]
    assert told["parameters"] == sum(part["numbers"] or 0 for part in told["parts"])
    assert told["bundle"]["precision"] == ["fp32"]
    assert told["run"]["path"] == str(seen.inside / "run")
    assert [score["value"] for score in told["scores"]] == [0.5]
    with pytest.raises(SystemExit):
        app.main(["models", "info", "tiny"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny  (muomni-model-tiny 1.2)"
    assert any(line.startswith("omni") and "0.250 to 0.750" in line for line in lines)


@pytest.mark.usefixtures("seen")
def test_the_thinker_has_as_many_parameters_as_its_module() -> None:
    from muomni_cli.models.model_card import details
    from tests.opening import run_engine

    omni = run_engine("tiny").omni()
    rows = {part["part"]: part["numbers"] for part in details("tiny")["parts"] if part["stage"] == "omni"}
    count = {
        "thinker": sum(p.numel() for p in omni.thinker.parameters()),
        "image": sum(p.numel() for p in omni.encoders["image"].parameters())
        + sum(p.numel() for p in omni.projectors["image"].parameters()),
    }
    assert {name: rows[name] for name in count} == count


@pytest.mark.usefixtures("seen")
def test_packed_again_it_keeps_its_license(tmp_path: Path) -> None:
    pack("tiny", tmp_path / "again", PackageOptions("second", half=True))
    project = tomllib.loads((tmp_path / "again" / "pyproject.toml").read_text())["project"]
    assert project["license"] == {"text": 'CC0 "as it is"'}


def test_eval_names_it_and_its_recipe(whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data are those of the recipe that the run brought along; a recipe's own name comes first."""
    from muomni_cli.eval.run import find_model

    shutil.copytree(whole.run, tmp_path / "run")
    (tmp_path / "run/recipe.toml").write_text('name = "theirs"\n[thinker]\nuse = "transformer"\n')
    pack(str(tmp_path / "run"), tmp_path / "package", PackageOptions("other"))
    pack(str(tmp_path / "run"), tmp_path / "namesake", PackageOptions("omni"))
    see(tmp_path / "package/src", "muomni_model_other", monkeypatch)
    found, recipe = find_model("other", None, [])
    assert (recipe.name, found.run().root) == ("theirs", tmp_path / "package/src/muomni_model_other/run")
    see(tmp_path / "namesake/src", "muomni_model_omni", monkeypatch)
    found, recipe = find_model("omni", None, [])
    assert (recipe.name, found.run().root) == ("omni", tmp_path / "namesake/src/muomni_model_omni/run")


@pytest.mark.usefixtures("seen")
def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(RequestError) as caught:
        answer("tinny", None)  # type: ignore[arg-type]
    assert caught.value.fix.startswith("did you mean 'tiny'?")
