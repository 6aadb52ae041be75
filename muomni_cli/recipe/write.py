"""A recipe as data and as TOML with every default filled in and every key explained. Writes no files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import tomlkit
from pydantic import BaseModel

from muomni_cli.recipe.load import HOST_KEYS
from muomni_cli.recipe.model import Chosen, Recipe, Source
from muomni_cli.recipe.settings import TrainSettings
from muomni_cli.registry.catalog import describe_settings

WIDTH = 120


def as_data(recipe: Recipe) -> dict[str, Any]:
    """The whole recipe as plain data, laid out as in TOML, defaults filled in; settings that are unset are None."""
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
    """What a recipe learns from, by the name of its list: which source, of what, under which licence if it says so."""
    return {
        name: [
            {"use": one.use, **({"task": one.task} if one.task else {}), "licence": one.licence or "not stated"}
            for one in sources
            if not one.measure
        ]
        for name, sources in recipe.data.sources.items()
    }


def fingerprint(recipe: Recipe) -> str:
    """SHA-256 of what the recipe says, whatever its comments and layout."""
    return hashlib.sha256(json.dumps(as_data(recipe), sort_keys=True).encode()).hexdigest()


def resolved_toml(recipe: Recipe) -> str:
    """TOML that gives an equal recipe, with a comment on every key."""
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
    document.add("data", _data_table(recipe, data["data"]))
    document.add("train", _train_table(recipe, data["train"]))
    document.add("chat", _explained(data["chat"], type(recipe.chat)))
    return tomlkit.dumps(document)


def _table(chosen: Chosen) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if isinstance(chosen, Source):
        own = {"weight": chosen.weight}
        told = {"task": chosen.task, "licence": chosen.licence, "measure": chosen.measure}
        own |= {key: value for key, value in told.items() if value}
    return {"use": chosen.use, **own, **chosen.config.model_dump(mode="json", by_alias=True)}


def _part_table(values: Mapping[str, Any], chosen: Chosen) -> tomlkit.items.Table:
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


def _data_table(recipe: Recipe, values: Mapping[str, Any]) -> tomlkit.items.Table:
    settings = recipe.data.settings
    table = _explained(settings.model_dump(mode="json"), type(settings))
    for name, sources in recipe.data.sources.items():
        tables = tomlkit.aot()
        for source, data in zip(sources, values[name], strict=True):
            tables.append(_part_table(data, source))
        table.add(name, tables)
    return table


def _train_table(recipe: Recipe, values: Mapping[str, Any]) -> tomlkit.items.Table:
    stages = [stage for stage in recipe.train if stage]
    table = _explained({key: value for key, value in values.items() if key not in stages}, TrainSettings)
    for stage in stages:
        table.add(stage, _explained(values[stage], TrainSettings))
    return table


def _item(value: Any) -> tomlkit.items.Item:
    """A value that its comment can stand beside: tables, and lists of them, on one line. What is unset inside of them
    is left out, as in any recipe."""
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
    """A table whose every key has a comment: what it is, its type, its default. What is unset stands in a comment."""
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
