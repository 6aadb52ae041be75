"""The provenance of a run (versions, plugins, data, seed), and a recipe opened for plugin commands."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.contract.data import Dataset
from muomni_cli.contract.models import Tokenizer
from muomni_cli.registry.registry import RegisteredPart

PACKAGES = ("muomni", "torch", "numpy", "tokenizers", "safetensors", "pydantic", "pluggy")


def make_lock(parts: Iterable[RegisteredPart], *, seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``lock.json``; ``data``: source -> fingerprint."""
    plugins = {part.plugin.name: part.plugin for part in parts}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "plugins": {
            name: {
                "module": plugin.module,
                "origin": plugin.origin,
                "version": plugin.version,
                "sha256": _hash_module(plugin.module),
            }
            for name, plugin in sorted(plugins.items())
        },
        "git": _git(Path(__file__).parent),
        "data": dict(data),
        "seed": seed,
        "command": sys.argv,
    }


def fingerprint(path: Path) -> str:
    """SHA-256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _hash_module(module: str) -> str | None:
    """SHA-256 of the names and contents of all Python files in the top-level package of ``module``."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(origin.parent)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _git(folder: Path) -> dict[str, Any] | None:

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", folder, *words], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain"))} if commit else None


@dataclass(frozen=True, slots=True)
class OpenedRecipe:
    """A valid recipe, opened. ``sources``: the tables of one list ``[[data.<NAME>]]``, by task, or by number and part.
    ``tokenizer``: the run's trained one, or one that needs no training; else None."""

    name: str
    sources: Mapping[str, Dataset]
    tokenizer: Tokenizer | None


def open_recipe(recipe: str, overrides: Sequence[str] = (), table: str = "text") -> OpenedRecipe:
    """The data and the tokenizer of a recipe.

    Args:
        recipe: a TOML file, or the name of a shipped recipe.
        overrides: ``key=value`` words.
        table: NAME of the list ``[[data.<NAME>]]`` to open.

    Raises:
        RequestError: there is no such recipe or list, or the recipe has errors.
    """
    from muomni_cli.data.sources import open_sources
    from muomni_cli.data.text import known_tokenizer
    from muomni_cli.recipe import load_recipe
    from muomni_cli.runs.run import RUNS, RunFolder

    loaded = load_recipe(recipe, overrides)
    sources = {source.name: source.dataset for source in open_sources(loaded, table)}
    return OpenedRecipe(loaded.name, sources, known_tokenizer(loaded, RunFolder(RUNS / loaded.name).stage("tokenizer")))
