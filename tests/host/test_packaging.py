"""The wheel, the editable install and the checkout behave alike, and the wheel leaves nothing else behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORMS = ("wheel", "editable")


def call(*command: str | Path, cwd: Path, path: str = "") -> str:
    """stdout of a command that must succeed, with no module path but ``path``."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both wheels that the build backend makes of this checkout."""
    built = {}
    for form in FORMS:
        folder = tmp_path_factory.mktemp(form)
        code = f"from hatchling.build import build_{form} as build; print(build({str(folder)!r}))"
        built[form] = folder / call(sys.executable, "-c", code, cwd=ROOT).split()[-1]
    return built


@pytest.fixture(scope="module")
def environments(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The Python of a fresh environment for each wheel: it has our third-party packages, and not our checkout."""
    pythons = {}
    for form, wheel in wheels.items():
        home = tmp_path_factory.mktemp(f"environment-{form}")
        call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
        pythons[form] = home / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", pythons[form], "--disable-pip-version-check")
        call(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel, cwd=home)
        packages = next((home / "lib").glob("python*/site-packages"))
        (packages / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return pythons


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
    assert "muomni_cli/py.typed" in names


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
        "import importlib, json, muomni_cli; from muomni_cli.plugins import load_plugins\n"
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
