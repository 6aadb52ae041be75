"""Which of several parts of one name a recipe means. One that was written when there was one keeps meaning that one:
what its run was made of, or, for a recipe that ships with a plugin, that plugin's own part, else the built-in one. Any
other recipe has to say ``plugin:name``."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import MuomniError
from muomni_cli.core.files import RUNS, read_json
from muomni_cli.recipe.stages import SLOTS
from muomni_cli.recipe.toml import parse, read_text
from muomni_cli.recipe.train_settings import OWN_INIT
from muomni_cli.registry.registry import BUILT_IN, DOWNLOAD, Registered, get_registry
from muomni_cli.registry.sets import REFERENCE, references_in

RECIPE, LOCK = "recipe.toml", "lock.json"  # in a run's folder
Accepts = Callable[[str, Registered[Any]], bool]


class Names:
    """The names of one recipe.

    Args:
        file: its file.
        owner: gives the plugin that it ships with, ``muomni`` for muomni's own; None for any other file.
        run: the run that it trains, made or not.
    """

    def __init__(self, file: Path, owner: Callable[[], str | None], run: Path) -> None:
        self._owner = owner
        self._run = file.parent if file.name == RECIPE and (file.parent / LOCK).is_file() else run

    def choose(self, kind: str, found: Sequence[Registered[Any]]) -> Registered[Any] | None:
        """The one of ``found`` that is meant; None if nothing says which."""
        for accepts in self._rules:
            kept = [one for one in found if accepts(kind, one)]
            if len(kept) == 1:
                return kept[0]
        return None

    @cached_property
    def _rules(self) -> list[Accepts]:
        recorded, plugins = recorded_names(self._run / RECIPE), _locked_plugins(self._run / LOCK)
        rules: list[Accepts] = [
            lambda kind, one: (kind, one.full_name) in recorded,
            lambda _, one: one.plugin.name in plugins,
        ]
        if (owner := self._owner()) is not None:
            rules += [lambda _, one: one.plugin.name == owner, lambda _, one: one.plugin.origin == BUILT_IN]
        return rules

    def dataset(self, reference: str) -> str:
        """``set:NAME`` with the plugin that declares it. RequestError as of :meth:`Registry.download`."""
        match = REFERENCE.fullmatch(reference)
        assert match is not None, "from references_in"
        full = get_registry().download(match["name"], self.choose).full_name
        return f"set:{full}/{match['file']}" if match["file"] else f"set:{full}"

    def model(self, name: str) -> str:
        """A value of ``train.omni.init``: ``plugin:name`` for an installed model, anything else unchanged.
        RequestError as of :meth:`Registry.model`."""
        bare = name.rpartition(":")[2]
        here = any(os.path.exists(path) for path in (os.path.expanduser(name), RUNS / name))  # any text will do
        if name in OWN_INIT or here or bare not in {one.part.name for one in get_registry().models()}:
            return name
        return get_registry().model(name, self.choose).full_name


def recorded_names(recipe: Path) -> Collection[tuple[str, str]]:
    """Kind and ``plugin:name`` of everything that the recipe of a run names; empty if there is none."""
    try:
        tables = parse(read_text(recipe))
    except (OSError, MuomniError, ValueError):
        return ()
    return {(kind, use) for kind, use in _uses(tables) if isinstance(use, str)}


def _uses(tables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    def table(value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) else {}

    yield from ((slot, table(tables.get(slot)).get("use")) for slot in SLOTS)
    for group, kind in (("encoders", "encoder"), ("callbacks", "callback")):
        yield from ((kind, table(one).get("use")) for one in table(tables.get(group)).values())
    for sources in table(tables.get("data")).values():
        for source in sources if isinstance(sources, list) else ():
            yield "dataset", table(source).get("use")
            for _, reference in references_in(source):
                yield DOWNLOAD, reference.removeprefix("set:").partition("/")[0]
    train = table(tables.get("train"))
    for settings in (train, *map(table, train.values())):
        yield from (("model", name) for name in (settings.get("init"), *table(settings.get("init_encoders")).values()))


def _locked_plugins(lock: Path) -> Collection[str]:
    """The plugins that a run was made with."""
    with suppress(OSError, MuomniError, ValueError):
        found = read_json(lock).get("plugins") if lock.is_file() else None
        return frozenset(found) if isinstance(found, dict) else frozenset()
    return frozenset()
