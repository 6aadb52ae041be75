"""A part's settings are told in words that a recipe's author can act on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from muomni_cli.api import PartConfig
from muomni_cli.registry.registry import describe_part, describe_settings, get_registry, registered_parts


class Color(StrEnum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


class Config(PartConfig):
    """One setting of each sort."""

    path: str = Field(description="where it lies")
    size: int = Field(3, description="how large")
    rate: float | None = None
    mode: Literal["soft", "hard"] = "soft"
    only: Literal["this"] = "this"
    color: Color = Color.BLUE
    names: list[str] = Field(default_factory=list)
    folder: Path = Path("a")


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("size", "integer", 3),
        ("rate", "number or null", None),
        ("mode", '"soft" or "hard"', "soft"),
        ("only", '"this"', "this"),
        ("color", '"red" or "blue"', "blue"),
        ("names", "list of string", []),
        ("folder", "string", "a"),
    ],
)
def test_type_and_default(name: str, kind: str, default: object) -> None:
    (setting,) = [setting for setting in describe_settings(Config) if setting["name"] == name]
    assert (setting["type"], setting["default"], setting["required"]) == (kind, default, False)


def test_a_required_setting_has_no_default() -> None:
    assert describe_settings(Config)[0] == {
        "name": "path",
        "type": "string",
        "required": True,
        "description": "where it lies",
    }


def test_everything_offered_can_be_told_as_json() -> None:
    described = [describe_part(registered) for registered in registered_parts(get_registry())]
    assert described
    assert json.loads(json.dumps(described)) == described


def test_every_built_in_setting_is_explained() -> None:
    for registered in registered_parts(get_registry()):
        for setting in describe_part(registered).get("config", []):
            assert setting["description"], f"{registered.use}: {setting['name']}"


def test_info_lays_out_settings(muomni: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    registered = get_registry().all("tokenizer")[0]
    shown = muomni("plugins", "info", registered.use)
    assert shown.returncode == 0
    for setting in describe_part(registered)["config"]:
        assert f"{setting['name']} " in shown.stdout
        assert setting["description"] in shown.stdout
