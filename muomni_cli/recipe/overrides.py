"""``KEY=VALUE`` overrides, applied to a recipe's tables before validation.

``train.*.KEY=VALUE`` applies to ``[train]`` and every ``[train.<stage>]``; an override of a single stage has
precedence. If an override reduces the steps, a warm-up longer than the steps is shortened in proportion; other
contradictions are errors.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

from muomni_cli.recipe.problems import Mistake, dotted
from muomni_cli.recipe.toml import MAX_DEPTH, KeyPath, parse
from muomni_cli.recipe.train_settings import TrainSettings

EVERY_STAGE = "train.*"  # prefix of an override for all stages
STEPS, WARMUP = "steps", "warmup_steps"
Tables = MutableMapping[str, Any]


def lay_over(tables: Tables, words: Sequence[str]) -> tuple[dict[KeyPath, str], list[Mistake]]:
    """Apply every ``key=value`` of ``words`` to ``tables``. Returns the word that set each changed path, and mistakes
    in words that could not be applied."""
    origins: dict[KeyPath, str] = {}
    mistakes: list[Mistake] = []
    for word in sorted(words, key=lambda word: not word.strip().startswith(f"{EVERY_STAGE}.")):
        key, equals, value = word.partition("=")
        names = [name.strip() for name in key.split(".")]
        try:
            if not equals or not all(names):
                raise ValueError("write it as key=value, such as train.steps=500")
            if len(names) > MAX_DEPTH:
                raise ValueError(f"nested too deeply: more than {MAX_DEPTH} levels")
            for place in _places(tables, names):
                origins[_put(tables, place, parse_value(value))] = word
        except ValueError as error:
            mistakes.append(Mistake(key.strip(), str(error), f"override {word!r}"))
    return origins, mistakes


def _places(tables: Tables, names: list[str]) -> list[list[str]]:
    """Paths that dotted ``names`` refer to: several for :data:`EVERY_STAGE`."""
    if names[:2] != EVERY_STAGE.split("."):
        return [names]
    train = tables.get("train", {})
    stages = stage_tables(train) if isinstance(train, dict) else []
    return [["train", *names[2:]], *(["train", stage, *names[2:]] for stage in stages)]


def parse_value(text: str) -> Any:
    """A TOML value, or else a string, so that ``train.device=cpu`` needs no quotes in a shell. ValueError: it is beyond
    the limits of a recipe."""
    try:
        parsed = parse(f"value = {text}\n")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _put(tables: Tables, names: Sequence[str], value: Any) -> KeyPath:
    """Set one value and return its path, with numbers for list elements."""
    here: Any = tables
    path: KeyPath = ()
    for place, name in enumerate(names):
        step: str | int = name
        last = place == len(names) - 1
        if isinstance(here, list):
            length = len(here)
            if not name.isdecimal() or len(name) > len(str(length)) or int(name) > length:
                raise ValueError(f"{dotted(path)} is a list of {length}: give a number up to {length}, not {name!r}")
            step = int(name)
            if step == length:
                here.append({})
        elif not isinstance(here, dict):
            raise ValueError(f"{dotted(path)} is a value and has no key {name!r}")
        elif not last:
            here.setdefault(name, {})
        if last:
            here[step] = value
        path, here = (*path, step), here[step]
    return path


def shorten_warmups(tables: Tables, written: Mapping[str, Any], origins: Mapping[KeyPath, str]) -> list[str]:
    """Shorten every warm-up that is longer than overridden ``steps``; returns a line for each override that had this
    effect. ``tables`` is changed in place; ``written``: the recipe without overrides; ``origins``: the word that set
    each changed path."""
    train = tables.get("train")
    if not isinstance(train, dict):
        return []
    stages = stage_tables(train)
    warmups = {stage: _value(tables, stage, WARMUP) for stage in stages}
    amounts: dict[str, dict[str, str]] = {}  # override -> stage -> what it did
    for stage in ("", *stages):  # "": all stages without their own table
        word = _origin(tables, origins, stage, STEPS)
        before, warmup = _value(written, stage, STEPS), _value(written, stage, WARMUP)
        steps = _value(tables, stage, STEPS)
        if word is None or _origin(tables, origins, stage, WARMUP) is not None:
            continue
        if all(map(_is_count, (steps, before, warmup))) and steps < warmup <= before:
            warmups[stage] = max(1, round(warmup * steps / before))
            amount = f"from {warmup:,} to {warmups[stage]:,} steps"
            amounts.setdefault(word.rpartition(".")[2], {})[stage] = amount
    if "" in warmups:
        train[WARMUP] = warmups.pop("")
    for stage, warmup in warmups.items():  # includes stages that inherit a shortened one
        if _value(tables, stage, WARMUP) != warmup:
            train[stage][WARMUP] = warmup
    notes = []
    for word, by_stage in amounts.items():
        told = [
            f"{amount} ({stage or 'others'})" if len(by_stage) > 1 else amount for stage, amount in by_stage.items()
        ]
        notes.append(f"{word}: warm-up shortened {', '.join(told)}")
    return notes


def stage_tables(train: Mapping[str, Any]) -> list[str]:
    """Names of the ``[train.<stage>]`` tables; some settings are tables as well."""
    return [name for name, value in train.items() if isinstance(value, dict) and name not in TrainSettings.model_fields]


def _own(tables: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    table = tables.get("train", {})
    own = table.get(stage, {}) if stage and isinstance(table, dict) else table
    return own if isinstance(own, dict) else {}


def _value(tables: Mapping[str, Any], stage: str, key: str) -> Any:
    default = TrainSettings.model_fields[key].default
    return {key: default, **_own(tables, ""), **_own(tables, stage)}[key]


def _origin(tables: Mapping[str, Any], origins: Mapping[KeyPath, str], stage: str, key: str) -> str | None:
    path = ("train", stage, key) if stage and key in _own(tables, stage) else ("train", key)
    return origins.get(path)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
