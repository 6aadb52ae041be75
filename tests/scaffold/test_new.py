"""``muomni plugins new``: what it writes works at once, is clean, and is written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import get_registry
from muomni_cli.scaffold import COMMON, KINDS, TEMPLATES, Names, write

if TYPE_CHECKING:
    from tests.installing import Site

pytestmark = pytest.mark.long
NAME = "my-2nd-{}"
"""Awkward: a hyphen, and a word that begins with a digit."""

TRY = """
import json, sys
from muomni_cli.testing import cases
found, wanted = {}, sys.argv[2] == "exporting"
for kind, name in json.loads(sys.argv[1]).items():
    checks = found[kind] = {}
    for case in cases(name):
        if (case.check.name in ("exports", "serves")) == wanted:
            part, verdict = case.check_run.subject.part, case.result()
            checks.setdefault(f"{part.kind} {part.name}", []).append([case.check.name, verdict.state, verdict.summary])
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    return {kind: write(NAME.format(kind), kind, folder, get_registry()) for kind in KINDS}


@pytest.fixture(scope="module")
def site(packages: dict[str, Path], pip: Callable[..., Site]) -> Site:
    """All of them, installed."""
    return pip(*packages.values())


@pytest.fixture(scope="module")
def tried(site: Site, packages: dict[str, Path]) -> Any:
    """Kind -> part -> what came of each check."""
    return checks(site, packages, "others")


def checks(site: Site, packages: dict[str, Path], which: str) -> Any:
    given = json.dumps({kind: NAME.format(kind) for kind in packages})
    return json.loads(site.run(sys.executable, "-c", TRY, given, which, cwd=site.folder).stdout.splitlines()[-1])


def test_there_is_a_template_of_every_kind() -> None:
    assert {path.name for path in TEMPLATES.iterdir() if path.is_dir()} == {COMMON, *KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_it_keeps_every_law_unchanged(kind: str, tried: Any) -> None:
    assert tried[kind]
    for part, results in tried[kind].items():
        assert [one for one in results if one[1] == "broken"] == [], part
        assert sum(one[1] == "passed" for one in results) > 3


@pytest.mark.slow
def test_what_can_be_exported_is(site: Site, packages: dict[str, Path]) -> None:
    """Of encoders, docs/plugins.md does it, and its test."""
    found = checks(site, packages, "exporting")
    for kind in ("thinker", "encoder", "talker", "codec", "vocoder"):
        states = {check: state for check, state, _ in found[kind][f"{kind} {NAME.format(kind)}"]}
        assert states == {"exports": "passed", "serves": "passed"}


def test_plugins_and_recipes_are_listed(site: Site, tmp_path: Path) -> None:
    listed = site.muomni("plugins", "list", "--json", cwd=tmp_path)
    assert listed.stderr == ""
    found = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)}
    for kind in KINDS:
        assert found[NAME.format(kind)]["status"] == "loaded"
        assert found[NAME.format(kind)]["parts"].get(kind, 0) == (kind not in ("command", "model"))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_clean(kind: str, packages: dict[str, Path]) -> None:
    folder = packages[kind]
    texts = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert [path for path, text in texts.items() if "newpart" in text.lower() or "newpart" in str(path)] == []
    for wanted in ("pyproject.toml", "README.md", ".gitignore"):
        assert folder / wanted in texts
    assert list(folder.glob("tests/test_*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E4,E7,E9,F", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    project = tomllib.loads(texts[folder / "pyproject.toml"])["project"]
    assert project["entry-points"]["muomni"] == {NAME.format(kind): f"muomni_my_2nd_{kind}.plugin"}


def test_its_recipes_are_right(site: Site, packages: dict[str, Path], tmp_path: Path) -> None:
    recipes = [str(path) for folder in packages.values() for path in folder.glob("src/*/*.toml")]
    assert len(recipes) >= 8
    site.muomni("recipes", "check", *recipes, cwd=tmp_path)


def test_a_recipe_of_a_kind_that_is_not_installed_is_refused(packages: dict[str, Path]) -> None:
    (recipe,) = packages["thinker"].glob("src/*/*.toml")
    with pytest.raises(RequestError):
        load_recipe(str(recipe))


def test_its_own_tests_pass(site: Site, packages: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", packages["tokenizer"] / "tests"]
    assert " passed" in site.run(*command, cwd=packages["tokenizer"]).stdout
    command[-1] = packages["command"] / "tests"
    assert "2 passed" in site.run(*command, cwd=packages["command"]).stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_types_are_right(kind: str, site: Site, packages: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "mypy", "--cache-dir", site.folder / ".mypy", "src"]
    site.run(*command, cwd=packages[kind], MYPYPATH="")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["encoder", "tokenizer", "thinker", "dataset", "callback"])
def test_its_recipe_trains(kind: str, site: Site, tmp_path: Path) -> None:
    name = NAME.format(kind)
    site.muomni("train", "all", name, "train.threads=1", cwd=tmp_path)
    assert site.muomni("chat", "-m", name, "Once", "--max-tokens", "4", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("name", "kind", "told", "fix"),
    [
        ("mine", "encodr", "there is no kind 'encodr'", "did you mean 'encoder'?"),
        ("Mine", "encoder", "cannot be called 'Mine'", "lower case letters"),
        ("2nd", "encoder", "cannot be called '2nd'", "lower case letters"),
        ("my--part", "encoder", "cannot be called", "lower case letters"),
        ("../mine", "encoder", "cannot be called", "lower case letters"),
        ("vit", "encoder", "the name .vit. is taken", "another name"),
        ("cli", "thinker", "there is a package muomni_cli already", "another name"),
    ],
)
def test_what_cannot_be_is_told(name: str, kind: str, told: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=told) as error:
        write(name, kind, tmp_path / "new", get_registry())
    assert fix in error.value.fix
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    write("mine", "callback", tmp_path, get_registry())
    (tmp_path / "muomni-mine" / "notes").write_text("mine")
    with pytest.raises(RequestError, match="is there already"):
        write("mine", "encoder", tmp_path, get_registry())
    assert [path.name for path in tmp_path.iterdir()] == ["muomni-mine"]
    assert (tmp_path / "muomni-mine" / "notes").read_text() == "mine"


def test_nothing_is_left_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(MuomniError, match="No space left"):
        write("mine", "encoder", tmp_path, get_registry())
    assert list(tmp_path.iterdir()) == []


def test_names() -> None:
    names = Names("my-2nd-part")
    assert names.exchange("muomni_newpart/muomni-newpart/NewpartConfig/newpart") == (
        "muomni_my_2nd_part/muomni-my-2nd-part/My2ndPartConfig/my-2nd-part"
    )
