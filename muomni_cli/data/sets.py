"""Public datasets that a recipe names and that are not here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from muomni_cli.contract.declarations import Download
from muomni_cli.registry.sets import missing_error, references_in, set_file

if TYPE_CHECKING:
    from muomni_cli.recipe import Recipe


def missing_sets(recipe: Recipe, tables: Iterable[str] | None = None, *, measured: bool = True) -> dict[str, Download]:
    """The public datasets that a recipe names and that are not here, by name.

    Args:
        recipe: names them in its sources.
        tables: look at these lists ``[[data.NAME]]`` only.
        measured: look at sources that are for measuring alone as well.
    """
    lists = recipe.data.sources if tables is None else {table: recipe.data.sources.get(table, ()) for table in tables}
    sources = [source for listed in lists.values() for source in listed if measured or not source.measure]
    found: dict[str, Download] = {}
    for source in sources:
        for _, reference in references_in(source.config.model_dump(mode="json")):
            file = set_file(reference)
            if file.find() is None:
                found[file.use] = file.download
    return found


def require_sets(recipe: Recipe, tables: Iterable[str], *, measured: bool = False) -> None:
    """Refuse to begin where public datasets of these lists are missing; all are named at once. Arguments as of
    :func:`missing_sets`."""
    missing = missing_sets(recipe, tables, measured=measured)
    if missing:
        raise missing_error(missing)
