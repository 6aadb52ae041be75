"""The JSON Schema of a recipe, so that editors complete and explain keys. Made from what the loaded plugins declare."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from muomni_cli.recipe.load import SOURCES
from muomni_cli.recipe.model import SLOTS, STAGES
from muomni_cli.recipe.settings import ChatSettings, DataSettings, TrainSettings
from muomni_cli.registry.registry import Registered, get_registry

Schema = dict[str, Any]

_WEIGHT: Schema = {
    "type": "number",
    "exclusiveMinimum": 0,
    "default": 1.0,
    "description": "how often this source is drawn, relative to the others",
}

_TASK: Schema = {
    "type": "string",
    "pattern": "^[a-z0-9][a-z0-9_-]*$",
    "description": "what its metrics and cards are called; its number and its part by default",
}


_LICENCE: Schema = {
    "type": "string",
    "description": "under which the data may be used; goes with the model when it is exported",
}

_MEASURE: Schema = {
    "type": "boolean",
    "description": "for the cards of muomni eval alone: no stage learns from it, nor chooses its best checkpoint by it",
}

_HOST_KEYS = {"weight": _WEIGHT, "task": _TASK, "licence": _LICENCE, "measure": _MEASURE}


def recipe_schema() -> Schema:
    """The schema (draft 2020-12) of recipes that the plugins loaded now can resolve."""
    train = _inlined(TrainSettings)
    stages = {stage: _inlined(TrainSettings) for stage in STAGES}
    data = _inlined(DataSettings)
    sources = {"type": "array", "items": _part("dataset", _HOST_KEYS)}
    data["properties"] |= dict.fromkeys(SOURCES, sources)
    data["additionalProperties"] = sources  # one list for each [encoders.<modality>]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "muomni recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "description": "also the name of the run's folder; default: the file's name"},
            "doc": {"type": "string", "description": "one line for listings"},
            "seed": {"type": "integer", "minimum": 0, "default": 0, "description": "of everything random"},
            **{slot: _part(slot) for slot in SLOTS},
            "encoders": {"type": "object", "additionalProperties": _part("encoder")},
            "data": data,
            # A stage of an [encoders.<modality>] table has the modality's name, so other names are possible.
            "train": train | {"properties": train["properties"] | stages, "additionalProperties": stages["thinker"]},
            "chat": _inlined(ChatSettings),
            "callbacks": {"type": "object", "additionalProperties": _part("callback")},
        },
    }


def _part(kind: str, host_keys: Schema | None = None) -> Schema:
    """A table whose ``use`` decides what the other keys may be."""
    offers = get_registry().all(kind)
    if not offers:
        return {"description": f"no plugin offers a {kind}", "not": {}}
    return {
        "type": "object",
        "required": ["use"],
        "properties": {"use": {"enum": [offer.use for offer in offers], "description": f"which {kind}"}},
        "oneOf": [_choice(offer, host_keys or {}) for offer in offers],
    }


def _choice(offer: Registered, host_keys: Schema) -> Schema:
    schema = _inlined(offer.part.config)
    use = {"use": {"const": offer.use, "description": offer.part.doc}}
    return schema | {"title": offer.use, "properties": use | host_keys | schema["properties"]}


def _inlined(model: type[BaseModel]) -> Schema:
    """The schema of a settings class without references, so that it can stand anywhere in a larger one."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema.pop("title", None)
    schema.pop("description", None)  # the class's docstring is for programmers
    resolved: Schema = _resolve(schema, definitions)
    return {"properties": {}} | resolved


def _resolve(value: Any, definitions: Schema) -> Any:
    if isinstance(value, list):
        return [_resolve(element, definitions) for element in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _resolve(definitions[value["$ref"].rpartition("/")[2]], definitions)
    # "discriminator" is OpenAPI's, and would point at definitions that are gone.
    return {key: _resolve(member, definitions) for key, member in value.items() if key != "discriminator"}
