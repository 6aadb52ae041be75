"""What a name means to ``muomni plugins check``: a plugin with all its parts and models, or one. Imports no part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from muomni_cli.contract.declarations import ModelFiles, Part, PartConfig
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.loading import PluginInfo
from muomni_cli.registry.registry import Registry, did_you_mean

PLUGIN = "plugin"
"""The kind of a plugin that declares no part and so stands for itself."""


@dataclass(frozen=True, slots=True)
class Named:
    """A part that is to be tried, and who declares it."""

    part: Part
    plugin: PluginInfo


class _Whole(Part):
    """A plugin that declares no part, such as one of commands alone: it must be importable, and no more."""

    kind = PLUGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried(Part):
    """A model that a package carries, as a part without settings."""

    kind: ClassVar[str] = ModelFiles.kind

    model: ModelFiles


def parts_called(name: str, registry: Registry) -> list[Named]:
    """Every part and model of the plugin of this name, or else every one that is called so, alone or as
    ``plugin:part``.

    Raises:
        MuomniError: the plugin is broken.
        RequestError: there is none, or it is switched off.
    """
    everything = [Named(offer.part, offer.plugin) for kind in KINDS for offer in registry.all(kind)]
    everything += [Named(_carried(offer.part), offer.plugin) for offer in registry.models()]
    for plugin in registry.plugins:
        if plugin.info.name == name:
            _require_loaded(plugin.info)
            return [one for one in everything if one.plugin.name == name] or [_whole(plugin.info)]
    found = [one for one in everything if name in names_of(one)]
    if found:
        return found
    known = [plugin.info.name for plugin in registry.plugins] + [one.part.name for one in everything]
    raise RequestError(
        f"there is no plugin or part {name!r}{registry.absences()}",
        did_you_mean(name, known, "see: muomni plugins list"),
    )


def names_of(one: Named) -> Iterator[str]:
    """What a part may be called."""
    yield one.part.name
    yield f"{one.plugin.name}:{one.part.name}"


def _require_loaded(info: PluginInfo) -> None:
    if info.status == "broken":
        raise MuomniError(f"plugin {info.name} is broken: {info.reason}", f"mend {info.module}, then check it again")
    if info.status == "disabled":
        raise RequestError(f"plugin {info.name} is disabled", f"muomni plugins enable {info.name}")


def _carried(model: ModelFiles) -> Carried:
    return Carried(name=model.name, doc=model.doc, config=PartConfig, build="builtins:dict", model=model)


def _whole(info: PluginInfo) -> Named:
    return Named(_Whole(name=info.name, doc="a plugin without parts", config=PartConfig, build="builtins:dict"), info)
