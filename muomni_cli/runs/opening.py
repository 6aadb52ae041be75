"""What a command of a plugin is given of a recipe: what it learns from, opened. Loads nothing before it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from muomni_cli.contract.data import Dataset
from muomni_cli.contract.models import Tokenizer


@dataclass(frozen=True, slots=True)
class OpenedRecipe:
    """A recipe that was read and found right.

    Args:
        name: of the recipe, and of its run.
        sources: each table of one list ``[[data.<NAME>]]``, by its task, or by its number and its part.
        tokenizer: the one that its run has trained, or that needs no training; None if there is none yet.
    """

    name: str
    sources: Mapping[str, Dataset]
    tokenizer: Tokenizer | None


def open_recipe(recipe: str, overrides: Sequence[str] = (), table: str = "text") -> OpenedRecipe:
    """The data of a recipe, and its tokenizer.

    Args:
        recipe: a TOML file, or the name of a shipped recipe.
        overrides: ``key=value`` words laid over it.
        table: NAME of the list ``[[data.<NAME>]]`` that is wanted.

    Raises:
        RequestError: there is no such recipe, it has mistakes, or it has no such list.
    """
    from muomni_cli.data.sources import open_sources
    from muomni_cli.data.tokenizer import known_tokenizer
    from muomni_cli.recipe import load_recipe
    from muomni_cli.runs.folder import RUNS, RunFolder

    loaded = load_recipe(recipe, overrides)
    sources = {source.name: source.dataset for source in open_sources(loaded, table)}
    return OpenedRecipe(loaded.name, sources, known_tokenizer(loaded, RunFolder(RUNS / loaded.name).stage("tokenizer")))
