"""Names: one is found, two are asked about, none is explained."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from muomni_cli.api import CallbackPart, PartConfig, RecipeFile
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry, resolve

Install = Callable[..., Path]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]


def callback(name: str) -> CallbackPart:
    return CallbackPart(name=name, doc="follows", config=PartConfig, build="somewhere:build")


def plugin(name: str, *parts: CallbackPart | RecipeFile) -> Plugin:
    made = Plugin(PluginInfo(name, f"{name}.plugin", "1", f"{name}-dist", "loaded"))
    made.parts = list(parts)
    return made


def absent(name: str, reason: str) -> Plugin:
    return Plugin(PluginInfo(name, name, "1", name, "broken" if reason else "disabled", reason))


@pytest.fixture
def registry() -> Registry:
    return Registry([plugin("birds", callback("wren"), callback("owl")), plugin("night", callback("owl"))])


def test_a_name_is_found(registry: Registry) -> None:
    found = registry.get("callback", "wren")
    assert (found.part.name, found.plugin.name, found.use) == ("wren", "birds", "wren")


def test_a_clash_is_an_error_only_when_asked_for(registry: Registry) -> None:
    assert [entry.use for entry in registry.all("callback")] == ["wren", "birds:owl", "night:owl"]
    with pytest.raises(RequestError, match="'owl' is offered by birds and night") as raised:
        registry.get("callback", "owl")
    assert raised.value.fix == "say which: birds:owl or night:owl"


@pytest.mark.parametrize("owner", ["birds", "night"])
def test_the_owner_settles_a_clash(registry: Registry, owner: str) -> None:
    assert registry.get("callback", f"{owner}:owl").plugin.name == owner


def test_every_listed_name_can_be_got(registry: Registry) -> None:
    assert [registry.get("callback", entry.use) for entry in registry.all("callback")] == registry.all("callback")


def test_an_unknown_name_gets_the_nearest_and_the_list(registry: Registry) -> None:
    with pytest.raises(RequestError, match="there is no callback 'wrn'") as raised:
        registry.get("callback", "wrn")
    assert raised.value.fix == "did you mean 'wren'? there is wren, birds:owl, night:owl"


def test_a_kind_nobody_offers(registry: Registry) -> None:
    with pytest.raises(RequestError) as raised:
        registry.get("thinker", "wren")
    assert raised.value.fix == "no plugin offers one: muomni plugins list"


def test_a_missing_plugin_may_be_the_reason() -> None:
    registry = Registry([plugin("birds", callback("wren")), absent("fish", "OSError: dry"), absent("dogs", "")])
    with pytest.raises(RequestError) as raised:
        registry.get("callback", "trout")
    assert "plugin fish is broken (OSError: dry)" in raised.value.what
    assert "plugin dogs is disabled (muomni plugins enable dogs)" in raised.value.what
    with pytest.raises(RequestError) as raised:
        registry.get("callback", "fish:trout")
    assert "fish is broken (OSError: dry)" in raised.value.what
    assert "dogs" not in raised.value.what


def test_recipes_are_kept_apart_from_parts(tmp_path: Path) -> None:
    registry = Registry([plugin("birds", callback("wren"), RecipeFile(name="nest", doc="a nest", path=tmp_path))])
    assert [entry.use for entry in registry.recipes()] == ["nest"]
    assert registry.recipe("nest").part.path == tmp_path
    with pytest.raises(RequestError, match="there is no recipe 'net'"):
        registry.recipe("net")


def test_resolve_imports_what_a_reference_names() -> None:
    assert resolve("pathlib:Path.home") == Path.home


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "a_package_that_nobody_has.sub:build",
            "callback wren needs a_package_that_nobody_has, which is not installed",
        ),
        ("pathlib:Road", "callback wren: pathlib has no Road"),
    ],
)
def test_resolve_says_who_wanted_what(reference: str, message: str) -> None:
    with pytest.raises(MuomniError, match=message) as raised:
        resolve(reference, "callback wren")
    assert raised.value.fix


def test_resolve_tells_how_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(_: str) -> list[str]:
        return ["numpy>=1", 'a_package_that_nobody_has==1; extra == "train"']

    monkeypatch.setattr("importlib.metadata.requires", requires)
    with pytest.raises(MuomniError) as raised:
        resolve("a_package_that_nobody_has:build")
    assert raised.value.fix == "install it: pip install 'muomni[train]'"


def test_info_shows_both_sides_of_a_clash(install: Install, muomni: Muomni) -> None:
    source = """
    from muomni_cli.api import DatasetPart, PartConfig, hookimpl

    @hookimpl
    def register_datasets():
        return [DatasetPart(name="pebbles", doc="stones", config=PartConfig, build="nowhere:build")]
    """
    install("left", source)
    install("right", source)
    shown = json.loads(muomni("plugins", "info", "pebbles", "--json").stdout)
    assert [entry["use"] for entry in shown] == ["left:pebbles", "right:pebbles"]
