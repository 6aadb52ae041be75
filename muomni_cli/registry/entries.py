"""Parts as ``model.json``, checkpoints and bundles' manifests describe them: entries with the part's kind, name, plugin
and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.speech import CodeShape, MelConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import RegisteredPart, get_registry

ARGUMENTS: dict[str, Callable[[Any], Any]] = {  # ``build`` argument -> its constructor from JSON
    "vocab_size": int,
    "mel": MelConfig.model_validate,
    "codes": lambda shape: CodeShape(**shape),
    "voices": tuple,
    "thinker_width": int,
}


def use_of(entry: Mapping[str, Any]) -> str:
    """The unique name of an entry's part now: ``plugin:name`` if another plugin offers a part of that name."""
    full = f"{entry['plugin']}:{entry['use']}"
    return next((one.use for one in get_registry().all(entry["kind"]) if one.full_name == full), str(entry["use"]))


def is_named(entry: Mapping[str, Any], name: str) -> bool:
    """Whether ``name`` means the part of an entry."""
    return name in (entry["use"], f"{entry['plugin']}:{entry['use']}")


def open_entry(entry: Mapping[str, Any]) -> tuple[RegisteredPart, Any]:
    """Declaration and config of a :func:`part_entry`. RequestError if its plugin is missing, or the entry or its
    settings are not what the plugin takes."""
    try:
        kind, plugin, use, settings = (entry[key] for key in ("kind", "plugin", "use", "config"))
    except KeyError as error:
        raise RequestError(f"the description of a part has no {error}", "export or train the model again") from error
    registered = get_registry().get(kind, f"{plugin}:{use}")
    try:
        return registered, registered.part.config.model_validate(settings)
    except ValidationError as error:
        raise RequestError(
            f"the {kind} {use} does not take these settings: {first_problem(error)}",
            f"use the version of {plugin} that the model was trained with, or train or export it again",
        ) from error


def first_problem(error: ValidationError) -> str:
    """The first problem in one line: the key, and what is wrong."""
    first = error.errors()[0]
    return " ".join(f"{'.'.join(str(step) for step in first['loc'])}: {first['msg']}".removeprefix(": ").split())


def part_entry(registered: RegisteredPart, config: Any, weights: str, **more: Any) -> dict[str, Any]:
    """The entry of a part in ``model.json`` and in checkpoints."""
    return {
        "kind": registered.part.kind,
        "use": registered.part.name,
        "plugin": registered.plugin.name,
        "config": config.model_dump(mode="json", by_alias=True),
        "weights": weights,
        **more,
    }


def differences(held: Mapping[str, Any], named: Mapping[str, Any], besides: frozenset[str] = frozenset()) -> list[str]:
    """``kind``, ``use`` or ``plugin`` if they differ between two entries, else the names of settings that do, except
    ``besides``; a setting that one does not have yet counts as its default."""
    if changed := [key for key in ("kind", "use", "plugin") if held[key] != named[key]]:
        return changed
    one, other = _with_defaults(held), _with_defaults(named)
    return sorted(key for key in (one.keys() | other.keys()) - besides if one.get(key) != other.get(key))


def _with_defaults(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The config of an entry, with the settings that its part has had only since it was written."""
    config: Mapping[str, Any] = entry["config"]
    with suppress(ValueError, RequestError):  # of a plugin that has changed, or is missing
        config = open_entry(entry)[1].model_dump(mode="json", by_alias=True)
    return config


def build_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``build`` in an entry of ``model.json``. RequestError if one is not what it must be."""
    try:
        return {name: make(entry[name]) for name, make in ARGUMENTS.items() if name in entry}
    except (TypeError, ValueError) as error:
        what = f"the description of the {entry.get('kind')} {entry.get('use')} is damaged"
        raise RequestError(what, "export or train the model again") from error


def run_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``runner`` besides the config and the graphs."""
    head_metadata = {"head_metadata": entry.get("head_metadata", {})} if entry["kind"] == EncoderPart.kind else {}
    return build_arguments(entry) | head_metadata
