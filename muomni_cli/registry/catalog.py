"""Plugins and parts as plain data, for listings: what JSON prints and tables lay out.

Knows what a declaration holds; imports no part and prints nothing.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from muomni_cli.contract.cards import Cards
from muomni_cli.contract.declarations import Check, Download, ModelFiles, Part, RecipeFile
from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.loading import Plugin
from muomni_cli.registry.registry import Offer, Registry

AnyOffer = Offer[Part] | Offer[RecipeFile] | Offer[ModelFiles] | Offer[Download] | Offer[Cards] | Offer[Check]


def offers(registry: Registry) -> list[AnyOffer]:
    """Everything that is offered, kind by kind, parts first."""
    parts = (offer for kind in KINDS for offer in registry.all(kind))
    others = registry.recipes(), registry.models(), registry.downloads(), registry.cards(), registry.checks()
    return [*parts, *(offer for offered in others for offer in offered)]


def describe_plugin(plugin: Plugin) -> dict[str, Any]:
    """What is known of a plugin, and how many parts of each kind it offers."""
    kinds = [part.kind for part in plugin.parts]
    told = {name: value for name, value in asdict(plugin.info).items() if name != "file"}  # its origin says that
    return told | {
        "doc": plugin.doc,
        "parts": {kind: kinds.count(kind) for kind in KINDS if kind in kinds},
    }


def describe_part(offer: AnyOffer) -> dict[str, Any]:
    """One part with its capabilities and settings, a recipe or model with its files, a public dataset with its size and
    licence, cards with their stages, or a check with its law."""
    part = offer.part
    entry = {"name": part.name, "use": offer.use, "kind": part.kind, "plugin": offer.plugin.name, "doc": part.doc}
    if isinstance(part, RecipeFile):
        return entry | {"path": str(part.path)}
    if isinstance(part, ModelFiles):
        paths = {field: getattr(part, field) for field in ("bundle", "run", "card")}
        return entry | {field: str(path) for field, path in paths.items() if path is not None}
    if isinstance(part, Download):
        return entry | {"size": part.size, "licence": part.licence, "paths": list(part.paths)}
    if isinstance(part, Cards):
        return entry | {"stages": list(part.stages), "make": part.make}
    if isinstance(part, Check):
        return entry | {"law": part.law}
    return entry | {"can": sorted(part.can), "config": describe_settings(part.config)}


def describe_settings(config: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, type in words, default and description of every setting; one without a default is ``required``."""
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
