"""All declarations of the loaded plugins: look one up by kind and name, import the code that it refers to, describe its
settings."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from muomni_cli.contract.declarations import CheckSpec, Download, ModelFiles, Part, RecipeFile
from muomni_cli.contract.metrics import MetricSet
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError, absence
from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.loading import Plugin, PluginInfo, absent_builtins, load_plugins

Declared = TypeVar("Declared", Part, RecipeFile, ModelFiles, Download, MetricSet, CheckSpec)


@dataclass(frozen=True, slots=True)
class Registered(Generic[Declared]):
    """A declaration and its plugin. ``use``: the unique name, ``plugin:name`` if two plugins declare ``name``."""

    plugin: PluginInfo
    part: Declared
    use: str

    @property
    def full_name(self) -> str:
        """``plugin:name``, which stays the same whatever else is installed."""
        return f"{self.plugin.name}:{self.part.name}"


RegisteredPart = Registered[Part]
RegisteredRecipe = Registered[RecipeFile]
RegisteredModel = Registered[ModelFiles]
RegisteredDownload = Registered[Download]
BUILT_IN = "built-in"  # origin of muomni's own plugins
DOWNLOAD = "public dataset"  # as errors call it
Choose = Callable[[str, Sequence[Registered[Any]]], Registered[Any] | None]
"""``choose(kind, found)``: which of several declarations of one name is meant; None if that is open."""


class Registry:
    """The declarations of all plugins. ``kind`` is that of a declaration: ``tokenizer``, ``thinker`` ..."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.plugins = list(plugins)

    def all(self, kind: str) -> list[RegisteredPart]:
        """Every part of this kind, built-ins first."""
        return _registered(
            [(p.info, part) for p in self.plugins for part in p.parts if isinstance(part, Part) and part.kind == kind]
        )

    def recipes(self) -> list[RegisteredRecipe]:
        return self._of(RecipeFile)

    def models(self) -> list[RegisteredModel]:
        return self._of(ModelFiles)

    def downloads(self) -> list[RegisteredDownload]:
        return self._of(Download)

    def metric_sets(self) -> list[Registered[MetricSet]]:
        return self._of(MetricSet)

    def checks(self) -> list[Registered[CheckSpec]]:
        return self._of(CheckSpec)

    def _of(self, declared: type[Declared]) -> list[Registered[Declared]]:
        return _registered([(p.info, part) for p in self.plugins for part in p.parts if isinstance(part, declared)])

    def get(self, kind: str, name: str, choose: Choose | None = None) -> RegisteredPart:
        """The part called ``name`` or ``plugin:name``. Raises RequestError: unknown (with the nearest name, and the
        reason if its plugin is not loaded) or ambiguous, if ``choose`` does not settle it."""
        return self._pick(kind, name, self.all(kind), choose)

    def recipe(self, name: str) -> RegisteredRecipe:
        """The recipe called ``name`` or ``plugin:name``; errors as in :meth:`get`."""
        return self._pick(RecipeFile.kind, name, self.recipes())

    def model(self, name: str, choose: Choose | None = None) -> RegisteredModel:
        """The model called ``name`` or ``plugin:name``; errors as in :meth:`get`."""
        return self._pick(ModelFiles.kind, name, self.models(), choose)

    def download(self, name: str, choose: Choose | None = None) -> RegisteredDownload:
        """The public dataset called ``name`` or ``plugin:name``; errors as in :meth:`get`."""
        return self._pick(DOWNLOAD, name, self.downloads(), choose)

    def _pick(
        self, kind: str, name: str, offers: list[Registered[Declared]], choose: Choose | None = None
    ) -> Registered[Declared]:
        plugin, _, bare = name.rpartition(":")
        found = [entry for entry in offers if entry.part.name == bare and plugin in ("", entry.plugin.name)]
        if len(found) == 1:
            return found[0]
        if found:
            chosen = choose(kind, found) if choose is not None else None
            if chosen is not None:
                return chosen
            owners = " and ".join(entry.plugin.name for entry in found)
            raise RequestError(
                f"{kind} {name!r} is offered by {owners}", f"say which: {' or '.join(o.use for o in found)}"
            )
        uses = [entry.use for entry in offers]
        listed = f"there is {', '.join(uses)}" if uses else "no plugin offers one: muomni plugins list"
        fix = did_you_mean(name, uses, listed)
        if plugin and plugin not in {p.info.name for p in self.plugins}:
            fix = f"install the plugin {plugin}, or name its file with --plugin; {fix}"
        raise RequestError(f"there is no {kind} {name!r}{self.absences(plugin)}", fix)

    def absences(self, plugin: str = "") -> str:
        """Plugins that are broken, disabled or not installed, for errors about an unknown name; only ``plugin`` if
        given."""
        absences = []
        for info in (p.info for p in self.plugins if p.info.status != "loaded" and plugin in ("", p.info.name)):
            why = info.reason if info.status == "broken" else f"muomni plugins enable {info.name}"
            absences.append(f"; plugin {info.name} is {info.status} ({why})")
        gone = [name for name in absent_builtins() if plugin in ("", name)]
        return "".join([*absences, *(f"; the built-in plugin {name} is not installed" for name in gone)])


def built_in(kind: str, found: Sequence[Registered[Any]]) -> Registered[Any] | None:
    """A :data:`Choose` for the command line: a name keeps meaning muomni's own part, and that is said."""
    own = next((one for one in found if one.plugin.origin == BUILT_IN), None)
    if own is not None:
        others = " or ".join(one.full_name for one in found if one is not own)
        _say_once(f"{kind} {own.part.name}: the built-in one; for another, write {others}")
    return own


@functools.cache
def _say_once(line: str) -> None:
    say(line)


@functools.cache
def get_registry() -> Registry:
    """The registry of this process; the first call loads the plugins."""
    return Registry(load_plugins())


def resolve(reference: str, wanted_by: str = "") -> Any:
    """Import the object that ``"package.module:attr"`` refers to. ``wanted_by``: the part that needs it, for errors:
    ``"thinker tiny"``. MuomniError if a required package is not installed, or there is no such attribute."""
    wanted_by = wanted_by or reference
    module, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise MuomniError(*absence(wanted_by, [package])) from error
    except AttributeError as error:
        raise MuomniError(f"{wanted_by}: {module} has no {path}", "fix the plugin that declares it") from error
    return found


def nearest(name: str, names: Sequence[str]) -> str | None:
    """The closest match for a misspelled ``name``, if any is close."""
    return next(iter(difflib.get_close_matches(name, names, n=1)), None)


def did_you_mean(name: str, names: Sequence[str], listed: str) -> str:
    """A fix for an unknown ``name``: ``listed``, preceded by the closest match if there is one."""
    near = nearest(name, names)
    return f"did you mean {near!r}? {listed}" if near else listed


def _registered(declared: list[tuple[PluginInfo, Declared]]) -> list[Registered[Declared]]:
    names = [part.name for _, part in declared]
    return [
        Registered(info, part, part.name if names.count(part.name) == 1 else f"{info.name}:{part.name}")
        for info, part in declared
    ]


def registered_parts(registry: Registry) -> list[Registered[Any]]:
    """All declarations, kind by kind, parts first."""
    parts = (entry for kind in KINDS for entry in registry.all(kind))
    others = registry.recipes(), registry.models(), registry.downloads(), registry.metric_sets(), registry.checks()
    return [*parts, *(entry for offered in others for entry in offered)]


def describe_plugin(plugin: Plugin) -> dict[str, Any]:
    """Information about a plugin and the number of its parts by kind."""
    kinds = [part.kind for part in plugin.parts]
    about = {name: value for name, value in asdict(plugin.info).items() if name != "file"}  # same as its origin
    return about | {"doc": plugin.doc, "parts": {kind: kinds.count(kind) for kind in KINDS if kind in kinds}}


def describe_part(offer: Registered[Any]) -> dict[str, Any]:
    """A declaration with what characterizes its kind: capabilities and settings, files, size, stages or check."""
    part = offer.part
    entry = {"name": part.name, "use": offer.use, "kind": part.kind, "plugin": offer.plugin.name, "doc": part.doc}
    if isinstance(part, RecipeFile):
        return entry | {"path": str(part.path)}
    if isinstance(part, ModelFiles):
        paths = {field: getattr(part, field) for field in ("bundle", "run", "card")}
        return entry | {field: str(path) for field, path in paths.items() if path is not None}
    if isinstance(part, Download):
        return entry | {"size": part.size, "license": part.license, "paths": list(part.paths)}
    if isinstance(part, MetricSet):
        return entry | {"stages": list(part.stages), "make": part.make}
    if isinstance(part, CheckSpec):
        return entry | {"check": part.check}
    return entry | {"capabilities": sorted(part.capabilities), "config": describe_settings(part.config)}


def describe_settings(config: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type in words, default and description of every setting; those without a default are ``required``."""
    schema = config.model_json_schema()
    settings = []
    for name, field in config.model_fields.items():
        written = field.alias or name
        setting = {
            "name": written,
            "type": _type(schema["properties"][written], schema.get("$defs", {})),
            "required": field.is_required(),
            "description": field.description or "",
        }
        if not field.is_required():
            setting["default"] = to_jsonable_python(field.get_default(call_default_factory=True), fallback=str)
        settings.append(setting)
    return settings


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON Schema type in words: ``integer``, ``"a" or "b"``, ``list of string``, ``number or null``."""
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(_type(option, definitions) for option in schema["anyOf"])
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_type(schema['items'], definitions)}"
    return "table" if schema.get("type") == "object" else str(schema.get("type", "any"))


def installed_models() -> list[dict[str, Any]]:
    """What the packages of all installed models declare."""
    return [declared(registered) for registered in get_registry().models()]


def declared(registered: RegisteredModel) -> dict[str, Any]:
    """What the package of a model declares, as plain data."""
    model, plugin = registered.part, registered.plugin
    paths = {field: getattr(model, field) for field in ("bundle", "run", "card", "scores")}
    return {
        "name": model.name,
        "use": registered.use,
        "doc": model.doc,
        "package": plugin.origin,
        "version": plugin.version,
        "license": model.license,
        **{field: None if path is None else str(path) for field, path in paths.items()},
    }
