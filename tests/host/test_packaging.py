"""The wheel, the editable install and the checkout behave alike, and the wheel leaves nothing else behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from tests.installing import build_wheel, call, environment_with

if TYPE_CHECKING:
    from tests.tiny_model import Whole

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
FORMS = ("wheel", "editable")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels that the build backend makes of this checkout."""
    return {form: build_wheel(form, tmp_path_factory.mktemp(form)) for form in FORMS}


@pytest.fixture(scope="module")
def environments(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Python of a fresh environment for each wheel: it has our third-party packages, and not our checkout."""
    return {
        form: environment_with(wheel, tmp_path_factory.mktemp(f"environment-{form}")) for form, wheel in wheels.items()
    }


def test_the_wheel_holds_packages_and_recipes_only(wheels: dict[str, Path]) -> None:
    names = zipfile.ZipFile(wheels["wheel"]).namelist()
    roots = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    roots_of_source = [
        path.parent.name for root in ("plugins", "exports") for path in (ROOT / root).glob("*/__init__.py")
    ]
    assert roots == {"muomni_cli", *roots_of_source}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "muomni_cli").rglob("*.py")}
    assert modules <= set(names)
    assert {f"muomni_cli/_recipes/{path.name}" for path in (ROOT / "recipes").glob("*.toml")} <= set(names)
    assert {"muomni_cli/py.typed", "muomni_datasets/texts/stories.txt.gz", "muomni_datasets/texts/SOURCES.md"} <= set(
        names
    )
    page = {path.name for path in (ROOT / "plugins/muomni_serve/static").iterdir()}
    assert {f"muomni_serve/static/{name}" for name in page} <= set(names)


def test_a_wheel_built_again_has_the_same_bytes(wheels: dict[str, Path], tmp_path: Path) -> None:
    assert build_wheel("wheel", tmp_path).read_bytes() == wheels["wheel"].read_bytes()


def test_the_wheel_of_the_source_archive_is_that_of_the_checkout(wheels: dict[str, Path], tmp_path: Path) -> None:
    code = f"from hatchling.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    archive = tmp_path / call(sys.executable, "-c", code, cwd=ROOT).split()[-1]
    with tarfile.open(archive) as members:
        members.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.iterdir() if path.is_dir())
    code = f"from hatchling.build import build_wheel; print(build_wheel({str(tmp_path)!r}))"
    built = tmp_path / call(sys.executable, "-c", code, cwd=unpacked).split()[-1]
    contents = [
        {entry.filename: entry.CRC for entry in zipfile.ZipFile(path).infolist()} for path in (built, wheels["wheel"])
    ]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("listing", ["plugins", "recipes"])
def test_listings_are_those_of_the_checkout(
    form: str, listing: str, environments: dict[str, Path], tmp_path: Path
) -> None:
    words = (listing, "list", "--json")
    checkout = json.loads(call(sys.executable, "-m", "muomni_cli", *words, cwd=tmp_path, path=str(ROOT)))
    installed = json.loads(call(environments[form].with_name("muomni"), *words, cwd=tmp_path))
    names = [entry["name"] for entry in checkout]
    assert [entry["name"] for entry in installed] == names
    assert names


@pytest.mark.parametrize("form", FORMS)
def test_help_is_that_of_the_checkout(form: str, environments: dict[str, Path], tmp_path: Path) -> None:
    checkout = call(sys.executable, "-m", "muomni_cli", "--help", cwd=tmp_path, path=str(ROOT))
    assert call(environments[form].with_name("muomni"), "--help", cwd=tmp_path) == checkout


@pytest.mark.parametrize(("form", "home"), [("wheel", None), ("editable", ROOT)])
def test_modules_come_from_where_they_should(
    form: str, home: Path | None, environments: dict[str, Path], tmp_path: Path
) -> None:
    code = (
        "import importlib, json, muomni_cli; from muomni_cli.registry.loading import load_plugins\n"
        "modules = ['muomni_cli', *(plugin.info.module for plugin in load_plugins())]\n"
        "print(json.dumps([importlib.import_module(name).__file__ for name in modules]))"
    )
    files = [Path(file) for file in json.loads(call(environments[form], "-c", code, cwd=tmp_path))]
    expected = home or environments[form].parents[1]
    assert len(files) > 3
    assert [file for file in files if not file.is_relative_to(expected)] == []


def test_the_wheel_takes_no_common_name(environments: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import importlib.util as util\n"
        "print([name for name in ('plugins', 'exports', 'recipes', 'tests', 'docs') if util.find_spec(name)])"
    )
    assert call(environments["wheel"], "-c", code, cwd=tmp_path) == "[]\n"


def base_packages(wheel: Path) -> set[str]:
    """What ``pip install muomni`` brings, by what the packages that are installed here say that they need."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    with zipfile.ZipFile(wheel) as archive:
        described = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = archive.read(described).decode().splitlines()
    wanted = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")]
    found: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name not in found and (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            found.add(name)
            wanted += metadata.requires(name) or []
    return found


def files_of(package: str) -> Iterator[Path]:
    """Top folders and files of an installed package."""
    files = metadata.files(package) or []
    yield from {Path(str(file.locate())) for file in files if len(file.parts) == 1}
    names = {file.parts[0] for file in files if len(file.parts) > 1} - {"..", "__pycache__"}
    yield from (Path(str(metadata.distribution(package).locate_file(name))) for name in names)


@pytest.fixture(scope="module", params=["linked", pytest.param("from an index", marks=pytest.mark.external)])
def runtime_only(
    request: pytest.FixtureRequest, wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The Python of an environment that holds what ``pip install muomni`` brings and nothing else: links to our own
    packages, or downloaded ones."""
    home = tmp_path_factory.mktemp("runtime-only")
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install", "--quiet")
    if request.param != "linked":
        call(*pip, wheels["wheel"], cwd=home)
        return python
    call(*pip, "--no-deps", "--no-index", "--no-compile", wheels["wheel"], cwd=home)
    packages = next((home / "lib").glob("python*/site-packages"))
    for package in base_packages(wheels["wheel"]):
        for path in files_of(package):
            if not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    return python


def test_no_pytorch_comes_with_the_runtime(runtime_only: Path, tmp_path: Path) -> None:
    code = "import importlib.util as util; print([name for name in {} if util.find_spec(name)])"
    names = ["torch", "torchaudio", "onnx", "onnxscript", "matplotlib", "psutil", "onnxruntime"]
    assert call(runtime_only, "-c", code.format(names), cwd=tmp_path) == "['onnxruntime']\n"


def test_a_model_without_pytorch_gives_what_it_gives_with_it(whole: Whole, runtime_only: Path, tmp_path: Path) -> None:
    chat = ("chat", "what is this?", "--image", whole.picture, "--audio", whole.sound, "-m")
    here = (sys.executable, "-m", "muomni_cli")
    there = runtime_only.with_name("muomni")
    said = call(*here, *chat, whole.run, cwd=tmp_path, path=str(ROOT))
    assert len(said.strip()) > 3
    assert call(there, *chat, whole.bundle, cwd=tmp_path) == said
    heard = call(*here, "listen", whole.sound, "-m", whole.run, cwd=tmp_path, path=str(ROOT))
    assert len(heard.strip()) > 3
    assert call(there, "listen", whole.sound, "-m", whole.bundle, cwd=tmp_path) == heard
    tts = ("tts", "hello there, you", "--voice", "bob", "-o")
    call(*here, *tts, "torch.wav", "-m", whole.run, cwd=tmp_path, path=str(ROOT))
    call(there, *tts, "onnx.wav", "-m", whole.bundle, cwd=tmp_path)
    (ours, rate), (theirs, expected) = (soundfile.read(tmp_path / f"{name}.wav") for name in ("onnx", "torch"))
    assert (rate, ours.shape) == (expected, theirs.shape)
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_the_model_that_comes_along_answers_at_once(whole: Whole, runtime_only: Path, tmp_path: Path) -> None:
    there = runtime_only.with_name("muomni")
    call(there, "tts", "hello", "-o", "out.wav", cwd=tmp_path)
    samples, rate = soundfile.read(tmp_path / "out.wav")
    assert 0.3 < len(samples) / rate < 3
    assert np.abs(samples).max() > 0.05
    chat = ("chat", "What do you see?", "--image", whole.picture, "--audio", whole.sound)
    said = call(there, *chat, cwd=tmp_path)
    assert len(said.strip()) > 3
    assert call(sys.executable, "-m", "muomni_cli", *chat, "-m", "nano", cwd=tmp_path, path=str(ROOT)) == said


COMMANDS = {
    "chat hello -m {run}": "run {run} needs torch",
    "tts hello -o out.wav -m {run}": "run {run} needs torch",
    "listen {sound} -m {run}": "run {run} needs torch",
    "eval omni -m {run}": "run {run} needs torch",
    "trace hello -m {run}": "run {run} needs torch",
    "train all omni": "muomni train needs torch",
    "bench generate omni": "muomni bench needs ",
    "bench tts -m {run}": "run {run} needs torch",
    "export --onnx -m {run} -o out": "muomni export needs torch, onnx and onnxscript",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_needs_more_says_which_extra(
    command: str, whole: Whole, runtime_only: Path, tmp_path: Path
) -> None:
    names = {"run": whole.run, "sound": whole.sound}
    words = [word.format(**names) for word in command.split()]
    done = subprocess.run(
        [runtime_only.with_name("muomni"), *words], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    what, fix = done.stderr.splitlines()
    assert done.returncode in (1, 2)
    assert what.startswith("error: " + COMMANDS[command].format(**names))
    assert what.endswith(" not installed")
    assert re.match(r"  fix: install (it|them): pip install 'muomni\[[a-z,]*train[a-z,]*\]'", fix)
    assert list(tmp_path.iterdir()) == []
