"""A declaration that cannot work is refused when it is made, not when somebody uses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import (
    Capability,
    DatasetPart,
    Download,
    Part,
    PartConfig,
    RecipeFile,
    RemoteFile,
    ThinkerPart,
    TokenizerPart,
)
from muomni_cli.registry.hookspecs import DECLARES, HookSpecs, check_declaration


class Config(PartConfig):
    """What a Thinker must have at least."""

    ctx_len: int = 8
    d_model: int = 4


GOOD = ThinkerPart(
    name="tiny-1",
    doc="a tiny one",
    config=Config,
    build="a_package.model:Model.build",
    objective="a_package.train:objective",
    peers={"other": "another:make"},
    capabilities={Capability.CACHE},
)


def test_a_good_declaration_comes_back_as_it_is() -> None:
    assert check_declaration("register_thinkers", GOOD) is GOOD


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "Tiny", "is not a valid name"),
        ("name", "", "is not a valid name"),
        ("name", "a:b", "is not a valid name"),
        ("name", 3, "is not a valid name"),
        ("doc", " ", "doc must be one line"),
        ("doc", "two\nlines", "doc must be one line"),
        ("config", dict, "subclass of PartConfig"),
        ("config", Config(), "subclass of PartConfig"),
        ("config", PartConfig, "must have ctx_len and d_model"),
        ("build", "a_package.model", 'build is .*, not "package.module:attr"'),
        ("build", None, "build is None"),
        ("objective", "a package:x", "objective is"),
        ("graphs", "a:", "graphs is"),
        ("steps", "a", "steps is"),
        ("peers", {"other": "nowhere"}, r"peers\['other'\] is 'nowhere'"),
        ("capabilities", {"fly"}, "unknown capability 'fly'"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any, message: str) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises((TypeError, ValueError), match=message):
        check_declaration("register_thinkers", replace(GOOD, **changes))


@pytest.mark.parametrize("declared", [None, "tiny", GOOD])
def test_a_hook_returns_its_own_declarations_only(declared: object) -> None:
    with pytest.raises(TypeError, match=r"register_tokenizers returned .*, not TokenizerPart"):
        check_declaration("register_tokenizers", declared)


def test_a_recipe_must_be_there(tmp_path: Path) -> None:
    recipe = RecipeFile(name="nest", doc="a nest", path=tmp_path / "nest.toml")
    with pytest.raises(ValueError, match="there is no file"):
        check_declaration("register_recipes", recipe)
    recipe.path.touch()
    assert check_declaration("register_recipes", recipe) is recipe


REMOTE = RemoteFile(url="https://example.org/a.tar.gz?download", size=3, sha256="0" * 64, name="a.tar.gz")
PUBLIC = Download(
    name="shells", doc="shells", license="CC0", license_url="https://example.org/", paths=("x/a.tar",), files=(REMOTE,)
)


def test_a_good_download_comes_back_as_it_is() -> None:
    assert check_declaration("register_downloads", PUBLIC) is PUBLIC
    assert (PUBLIC.size, PUBLIC.verified, REMOTE.filename) == (3, True, "a.tar.gz")
    assert RemoteFile(url="https://example.org/b.zip", size=1).filename == "b.zip"
    assert not replace(PUBLIC, files=(replace(REMOTE, sha256=None),)).verified


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("license", "", "license must be one line"),
        ("license_url", None, "license_url must be one line"),
        ("paths", ["a"], "paths must be a tuple"),
        ("paths", (), "below the data folder"),
        ("paths", ("../a",), "below the data folder"),
        ("paths", ("/a",), "below the data folder"),
        ("paths", ("C:a",), "below the data folder"),
        ("paths", ("a", "b"), "as many paths as files"),
        ("files", (), "neither files to download nor a shipped file"),
        ("files", ("https://example.org/a",), "files must be RemoteFile"),
        ("files", (replace(REMOTE, url="ftp://example.org/a"),), "not an http or https address"),
        ("files", (replace(REMOTE, size=0),), "positive number of bytes"),
        ("files", (replace(REMOTE, sha256="0" * 63),), "64 hexadecimal digits"),
        ("files", (replace(REMOTE, name="a/b"),), "is not a file name"),
        ("layout", "nowhere", "layout is 'nowhere'"),
        ("shipped", Path("nowhere"), "a shipped dataset has one path and nothing to download"),
    ],
)
def test_a_wrong_field_of_a_download_is_named(field: str, value: Any, message: str) -> None:
    changes: dict[str, Any] = {field: value}
    with pytest.raises((TypeError, ValueError), match=message):
        check_declaration("register_downloads", replace(PUBLIC, **changes))


def test_a_shipped_file_must_be_there(tmp_path: Path) -> None:
    shipped = replace(PUBLIC, files=(), shipped=tmp_path / "a.txt.gz")
    with pytest.raises(ValueError, match="the shipped file is not there"):
        check_declaration("register_downloads", shipped)


def test_every_declaring_hook_is_specified() -> None:
    specified = {name for name in vars(HookSpecs) if name.startswith("register_")}
    assert specified == {*DECLARES, "register_commands"}


@pytest.mark.parametrize("part", [TokenizerPart, DatasetPart])
def test_kinds_name_their_hook(part: type[Part]) -> None:
    assert DECLARES[f"register_{part.kind}s"] is part
