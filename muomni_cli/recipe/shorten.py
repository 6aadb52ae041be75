"""What fewer steps mean for the schedule: a warm-up longer than all steps is shortened in proportion.

Only where an override asks for fewer steps; a recipe that contradicts itself stays as it is, to be refused.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, NamedTuple

from muomni_cli.recipe.mistakes import Path
from muomni_cli.recipe.settings import TrainSettings

STEPS, WARMUP = "steps", "warmup_steps"

Tables = MutableMapping[str, Any]


class Change(NamedTuple):
    """The warm-up of one stage (``""``: of all that have no table of their own)."""

    stage: str
    word: str
    before: int
    after: int


def shorten_warmups(tables: Tables, written: Mapping[str, Any], origins: Mapping[Path, str]) -> list[str]:
    """Shorten every warm-up in ``tables`` that overrides of ``steps`` left longer than the steps.

    Args:
        tables: of the recipe with the overrides; changed in place.
        written: the same without them.
        origins: the word that set each changed path.

    Returns:
        a line for each override that had this effect.
    """
    train = tables.get("train")
    if not isinstance(train, dict):
        return []
    changes = [one for stage in ("", *stage_tables(train)) if (one := _change(tables, written, origins, stage))]
    warmups = {stage: _value(tables, stage, WARMUP) for stage in stage_tables(train)}
    warmups |= {change.stage: change.after for change in changes}
    if "" in warmups:
        train[WARMUP] = warmups.pop("")
    for stage, warmup in warmups.items():  # also of those that inherited the one that was shortened
        if _value(tables, stage, WARMUP) != warmup:
            train[stage][WARMUP] = warmup
    return _lines(changes)


def stage_tables(train: Mapping[str, Any]) -> list[str]:
    """Names of the ``[train.<stage>]`` tables: settings may be tables, too."""
    return [name for name, value in train.items() if isinstance(value, dict) and name not in TrainSettings.model_fields]


def _change(tables: Tables, written: Mapping[str, Any], origins: Mapping[Path, str], stage: str) -> Change | None:
    word = _origin(tables, origins, stage, STEPS)
    before, warmup = _value(written, stage, STEPS), _value(written, stage, WARMUP)
    steps = _value(tables, stage, STEPS)
    if word is None or _origin(tables, origins, stage, WARMUP) is not None:
        return None
    if not (_is_count(steps) and _is_count(before) and _is_count(warmup)) or not steps < warmup <= before:
        return None
    return Change(stage, word, warmup, max(1, round(warmup * steps / before)))


def _own(tables: Mapping[str, Any], stage: str) -> Mapping[str, Any]:
    table = tables.get("train", {})
    own = table.get(stage, {}) if stage and isinstance(table, dict) else table
    return own if isinstance(own, dict) else {}


def _value(tables: Mapping[str, Any], stage: str, key: str) -> Any:
    default = TrainSettings.model_fields[key].default
    return {key: default, **_own(tables, ""), **_own(tables, stage)}[key]


def _origin(tables: Mapping[str, Any], origins: Mapping[Path, str], stage: str, key: str) -> str | None:
    """The override that ``key`` of a stage comes from, if it does."""
    path = ("train", stage, key) if stage and key in _own(tables, stage) else ("train", key)
    return origins.get(path)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _lines(changes: list[Change]) -> list[str]:
    by_word: dict[str, list[Change]] = {}
    for change in changes:
        by_word.setdefault(change.word.rpartition(".")[2], []).append(change)
    return [f"{word}: warm-up shortened {_told(members)}" for word, members in by_word.items()]


def _told(changes: list[Change]) -> str:
    if len(changes) == 1:
        return f"from {changes[0].before:,} to {changes[0].after:,} steps"
    return ", ".join(f"from {one.before:,} to {one.after:,} steps ({one.stage or 'others'})" for one in changes)
