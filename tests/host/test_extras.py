"""What is not installed is named, with the extra that brings it."""

from __future__ import annotations

import importlib.metadata

import pytest

from muomni_cli.commands.cli import report
from muomni_cli.core.errors import MuomniError, extras, how_to_install, missing_package, require


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requirements as builders of packages write them: in either kind of quotes, with markers of more than an extra."""
    lines = [
        "numpy>=1.26",
        "owl==2.0; extra == 'train'",
        'owlet-pro[all]>=1; (python_version > "3.8") and extra == "train"',
        "wren>=1; extra == 'onnx'",
        "owl; extra == 'onnx'",
    ]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: lines)


def test_each_package_has_its_own_extra_and_the_first_that_brings_it() -> None:
    assert extras() == {"owl": "train", "owlet-pro": "train", "wren": "onnx"}


def test_all_that_is_missing_is_one_command() -> None:
    assert how_to_install(["owl"]) == "pip install 'muomni[train]'"
    assert how_to_install(["wren", "owl", "owlet-pro"]) == "pip install 'muomni[onnx,train]'"
    assert how_to_install(["numpy", "wren"]) == "pip install 'muomni[onnx]' numpy"


def test_an_install_without_metadata_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.requires", absent)
    assert how_to_install(["owl"]) == "pip install owl"


def test_what_is_required_is_said_before_the_work() -> None:
    require("this", "json", "email")
    with pytest.raises(MuomniError, match="muomni sing needs wren and owl") as raised:
        require("muomni sing", "json", "wren", "owl", otherwise="or hum")
    assert raised.value.what == "muomni sing needs wren and owl, which are not installed"
    assert raised.value.fix == "install them: pip install 'muomni[onnx,train]'; or hum"


def test_a_command_that_misses_a_package_says_so_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ModuleNotFoundError("No module named 'owl'", name="owl.wings"), "muomni sing") == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: muomni sing needs owl, which is not installed",
        "  fix: install it: pip install 'muomni[train]'",
    ]


@pytest.mark.parametrize("name", ["muomni_cli.nowhere", "muomni_owls", "json.nowhere", None])
def test_a_module_of_ours_or_of_what_is_there_is_a_mistake_of_somebody(
    name: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ModuleNotFoundError("No module", name=name)
    assert missing_package(error) is None
    assert report(error) == 1
    assert "a bug of muomni" in capsys.readouterr().err
