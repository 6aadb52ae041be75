"""A benchmark measured at several settings: how cost grows with length, batch or width. Knows words, not models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from muomni_cli.bench.measure import Comparison
from muomni_cli.bench.report import Line
from muomni_cli.bench.workload import Workload
from muomni_cli.core.errors import RequestError
from muomni_cli.recipe import Recipe, load_recipe

OWN = ("batch", "length", "count", "threads")
"""Words that change the workload; all others change the recipe."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured under one name; ``words`` change the recipe."""

    name: str
    work: Workload
    words: Sequence[str]


def planned(work: Workload, variations: Sequence[str]) -> list[Setting]:
    """The base setting, then one for each of ``variations`` (``"length=128"``, several words in one).

    Raises:
        RequestError: for a word whose value is none.
    """
    return [
        Setting(variation.strip() or _describe(work), *_changed(work, variation.split()))
        for variation in ("", *variations)
    ]


def measure(
    compare: Callable[[Recipe, Workload, Sequence[str]], Comparison],
    recipe: str,
    overrides: Sequence[str],
    work: Workload,
    variations: Sequence[str],
    peers: Sequence[str],
    progress: Callable[[str], None],
) -> list[Line]:
    """Compare at every planned setting.

    Raises:
        RequestError: for a word that is no setting.
    """
    lines = []
    for setting in planned(work, variations):
        loaded = load_recipe(recipe, [*overrides, *setting.words])
        progress(f"measuring {setting.name}")
        lines.append(Line(setting.name, compare(loaded, setting.work, peers)))
    return lines


def _changed(work: Workload, words: Sequence[str]) -> tuple[Workload, list[str]]:
    own: dict[str, Any] = {}
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in OWN:
            rest.append(word)
        elif value.isdecimal() and int(value) > 0:
            own[key] = int(value)
        else:
            raise RequestError(f"{word!r} is no setting", f"write {key}=NUMBER")
    return replace(work, **own), rest


def _describe(work: Workload) -> str:
    threads = f" threads={work.threads}" if work.threads else ""
    return f"batch={work.batch} length={work.length} count={work.count}{threads}"
