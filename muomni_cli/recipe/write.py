"""A recipe as plain data, as TOML with defaults and comments, and its JSON Schema for editors, all generated from the
declarations of the loaded plugins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import tomlkit
from pydantic import BaseModel

from muomni_cli.recipe.load import HOST_KEYS, SOURCES
from muomni_cli.recipe.model import PartSpec, Recipe, SourceSpec
from muomni_cli.recipe.settings import ChatSettings, DataSettings
from muomni_cli.recipe.stages import SLOTS, STAGES
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import describe_settings, get_registry

Schema = dict[str, Any]

_HOST_KEYS: Schema = {
    "weight": {
        "type": "number",
        "exclusiveMinimum": 0,
        "default": 1.0,
        "description": "sampling weight of this source, relative to the others",
    },
    "task": {
        "type": "string",
        "pattern": "^[a-z0-9][a-z0-9_-]*$",
        "description": "name in metrics; default: its number and its part",
    },
    "license": {"type": "string", "description": "license of the data; exported with the model"},
    "eval_only": {"type": "boolean", "description": "for muomni eval only, not for training or validation"},
}


def as_data(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe as plain data, structured as in TOML, with defaults; unset settings are None."""
    base = recipe.train.get("", TrainSettings())
    train = base.model_dump(mode="json")
    for stage, settings in recipe.train.items():
        if stage:
            own = settings.model_dump(mode="json")
            train[stage] = {key: value for key, value in own.items() if value != train[key]}
    sources = {name: [_table(source) for source in found] for name, found in recipe.data.sources.items()}
    return {
        "name": recipe.name,
        "doc": recipe.doc,
        "seed": recipe.seed,
        **{slot: _table(chosen) for slot, chosen in recipe.parts.items()},
        "encoders": {name: _table(chosen) for name, chosen in recipe.encoders.items()},
        "data": {**recipe.data.settings.model_dump(mode="json"), **sources},
        "train": train,
        "chat": recipe.chat.model_dump(mode="json"),
        "callbacks": {name: _table(chosen) for name, chosen in recipe.callbacks.items()},
    }


def sources_of(recipe: Recipe) -> dict[str, list[dict[str, str]]]:
    """The training data of a recipe by list: source, task and license."""
    return {
        name: [
            {
                "use": one.registered.part.name,
                **({"task": one.task} if one.task else {}),
                "license": one.license or "not stated",
            }
            for one in sources
            if not one.eval_only
        ]
        for name, sources in recipe.data.sources.items()
    }


def fingerprint(recipe: Recipe) -> str:
    """SHA-256 of a recipe's content, independent of comments and layout."""
    return hashlib.sha256(json.dumps(as_data(recipe), sort_keys=True).encode()).hexdigest()


def resolved_toml(recipe: Recipe) -> str:
    """TOML of an equal recipe, with a comment on every key."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Every key of this recipe, defaults filled in."))
    data = as_data(recipe)
    for key in ("name", "doc", "seed"):
        document.add(key, tomlkit.item(data[key]))
    for slot, chosen in recipe.parts.items():
        document.add(slot, _part_table(data[slot], chosen))
    for group, members in (("encoders", recipe.encoders), ("callbacks", recipe.callbacks)):
        if members:
            table = tomlkit.table(is_super_table=True)
            for name, chosen in members.items():
                table.add(name, _part_table(data[group][name], chosen))
            document.add(group, table)
    settings = recipe.data.settings
    table = _explained(settings.model_dump(mode="json"), type(settings))
    for name, sources in recipe.data.sources.items():
        tables = tomlkit.aot()
        for source, values in zip(sources, data["data"][name], strict=True):
            tables.append(_part_table(values, source))
        table.add(name, tables)
    document.add("data", table)
    stages = {stage: data["train"].pop(stage) for stage in recipe.train if stage}
    table = _explained(data["train"], TrainSettings)
    for stage, values in stages.items():
        table.add(stage, _explained(values, TrainSettings))
    document.add("train", table)
    document.add("chat", _explained(data["chat"], type(recipe.chat)))
    return tomlkit.dumps(document)


def _table(chosen: PartSpec) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if isinstance(chosen, SourceSpec):
        own = {"weight": chosen.weight}
        host = {"task": chosen.task, "license": chosen.license, "eval_only": chosen.eval_only}
        own |= {key: value for key, value in host.items() if value}
    return {"use": chosen.registered.full_name, **own, **chosen.config.model_dump(mode="json", by_alias=True)}


def _part_table(values: Mapping[str, Any], chosen: PartSpec) -> tomlkit.items.Table:
    table = _explained(
        {key: value for key, value in values.items() if key not in {"use", *HOST_KEYS}}, type(chosen.config)
    )
    head = tomlkit.table()
    for key in ("use", *HOST_KEYS):
        if key in values:
            head.add(key, tomlkit.item(values[key]))
    head["use"].comment(chosen.registered.part.doc)
    for name, item in table.value.body:
        head.append(name, item)
    return head


def _item(value: Any) -> tomlkit.items.Item:
    """A value on one line, so that a comment can follow it; nested values that are unset are left out."""
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        table.update({key: _item(member) for key, member in value.items() if member is not None})
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        array.extend([_item(member) for member in value])
        return array
    item: tomlkit.items.Item = tomlkit.item(value)
    return item


def _explained(values: Mapping[str, Any], model: type[BaseModel]) -> tomlkit.items.Table:
    """A table with a comment on every key: description, type, default. Unset keys are comments only."""
    settings = {setting["name"]: setting for setting in describe_settings(model)}
    table = tomlkit.table()
    for key, value in values.items():
        setting = settings[key]
        default = "" if setting["required"] else f"; default {json.dumps(setting['default'])}"
        about = f"{setting['description']} ({setting['type']}{default})"
        if value is None:
            table.add(tomlkit.comment(f"{key} is unset: {about}"))
            continue
        item = _item(value)
        item.comment(about)
        table.add(key, item)
    return table


def recipe_schema() -> Schema:
    """JSON Schema (draft 2020-12) of recipes for the plugins that are loaded."""
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
    """A table whose other keys depend on ``use``."""
    choices, uses = {}, list[str]()
    for registered in get_registry().all(kind):
        schema = _inlined(registered.part.config)
        names = list(dict.fromkeys([registered.use, registered.full_name]))  # a run's recipe has the full one
        uses += names
        use = {"use": {"enum": names, "description": registered.part.doc}}
        properties = use | (host_keys or {}) | schema["properties"]
        choices[registered.use] = schema | {"title": registered.use, "properties": properties}
    if not choices:
        return {"description": f"no plugin offers a {kind}", "not": {}}
    return {
        "type": "object",
        "required": ["use"],
        "properties": {"use": {"enum": uses, "description": f"which {kind}"}},
        "oneOf": list(choices.values()),
    }


def _inlined(model: type[BaseModel]) -> Schema:
    """The schema of a settings class without references, so that it can be embedded in a larger one."""
    schema = model.model_json_schema()
    definitions = schema.pop("$defs", {})
    schema.pop("title", None)
    schema.pop("description", None)  # the class's docstring is meant for developers
    resolved: Schema = _resolve(schema, definitions)
    return {"properties": {}} | resolved


def _resolve(value: Any, definitions: Schema) -> Any:
    if isinstance(value, list):
        return [_resolve(element, definitions) for element in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _resolve(definitions[value["$ref"].rpartition("/")[2]], definitions)
    # "discriminator" is specific to OpenAPI and would refer to definitions that are gone.
    return {key: _resolve(member, definitions) for key, member in value.items() if key != "discriminator"}
