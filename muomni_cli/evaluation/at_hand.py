"""Which of a recipe's data are on this machine. Knows recipes and datasets, no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from muomni_cli.contract.data import Dataset
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe
    from muomni_cli.recipe.model import Source


def with_files(recipe: Recipe) -> tuple[Recipe, list[str]]:
    """The recipe without the sources whose files are not here, and a line for each of those."""
    return _kept(recipe, [*recipe.data.sources], lambda dataset: dataset.files())


def with_examples(recipe: Recipe, table: str) -> tuple[Recipe, list[str]]:
    """The recipe without the sources of ``[[data.<table>]]`` that give nothing, because a program that makes them is
    missing, say. This makes the first of each."""
    return _kept(recipe, [table], lambda dataset: next(iter(dataset.documents()), None))


def _kept(recipe: Recipe, tables: list[str], attempt: Callable[[Dataset], object]) -> tuple[Recipe, list[str]]:
    lost: list[str] = []

    def here(table: str, source: Source) -> bool:
        dataset: Dataset = resolve(source.registered.part.build, f"dataset {source.use}")(source.config)
        try:
            attempt(dataset)
        except RequestError as error:
            lost.append(f"{source.task or source.use} of [[data.{table}]]: {error.what}")
            return False
        return True

    sources = dict(recipe.data.sources)
    for table in tables:
        sources[table] = tuple(one for one in sources.get(table, ()) if here(table, one))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources=sources)), lost
