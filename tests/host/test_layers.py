"""Arrows point one way: the contracts of ``[tool.importlinter]``, and what they cannot say.

All imports count: those at the top of a module, in a function, and for types alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grimp
import pytest
import tomlkit

from muomni_cli import api

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "muomni_cli"
LOOSE = {"__init__", "__main__", "api", "app", "omni", "testing"}
ROOTS = (ROOT, ROOT / "plugins", ROOT / "exports")
SHARED = {"api", "testing", "nn", "audio", "image", "structured_output"}
"""What plugins may import of the host: its contract, that of their tests, and what several parts are made of."""

MOST_NAMES = 95
"""Of the api."""

Arrows = Mapping[str, set[str]]


def packages(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}


PRODUCT = sorted({"muomni_cli", *packages(ROOT / "plugins"), *packages(ROOT / "exports")})


@pytest.fixture(scope="module")
def arrows() -> Arrows:
    """Module -> the modules that it imports."""
    graph = grimp.build_graph(*PRODUCT, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(arrows: Arrows) -> list[list[str]]:
    """Sets of two or more that reach each other, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = lowest[module] = len(index)
        stack.append(module)
        for other in sorted(arrows.get(module, ())):
            if other not in index:
                visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == index[module]:
            circle = stack[stack.index(module) :]
            del stack[-len(circle) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for module in sorted(arrows):
        if module not in index:
            visit(module)
    return found


def by_package(arrows: Arrows, depth: int) -> dict[str, set[str]]:
    """The same between packages: modules that share their first ``depth`` names."""

    def package(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    between: dict[str, set[str]] = {}
    for module, others in arrows.items():
        between.setdefault(package(module), set()).update(set(map(package, others)) - {package(module)})
    return between


def plugin_contracts() -> list[dict[str, Any]]:
    """Those of ``plugins/`` and ``exports/``, which the project file does not name: any of them may be taken away."""
    plugins, exports = packages(ROOT / "plugins"), packages(ROOT / "exports")
    inside = packages(HOST) | {path.stem for path in HOST.glob("*.py")} - {"__init__"}
    return [
        {
            "name": "A plugin sees the api, the interface for tests and the shared layers of the host",
            "type": "forbidden",
            "source_modules": sorted(plugins),
            "forbidden_modules": [f"muomni_cli.{name}" for name in sorted(inside - SHARED)],
            "allow_indirect_imports": True,
        },
        {
            "name": "Plugins and exports do not know each other",
            "type": "independence",
            "modules": sorted(plugins | exports),
        },
        {
            "name": "The host imports no plugin",
            "type": "forbidden",
            "source_modules": ["muomni_cli"],
            "forbidden_modules": sorted(plugins | exports),
        },
    ]


def test_circles_are_found() -> None:
    there = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": {"d"}, "f": {"a"}}
    assert circles(there) == [["d", "e"], ["a", "b", "c"]]


def test_the_contracts_are_kept(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    del settings["root_package"]
    settings["root_packages"] = PRODUCT
    settings["contracts"] += plugin_contracts()
    config = tmp_path / "contracts.toml"
    config.write_text(tomlkit.dumps({"tool": {"importlinter": settings}}), encoding="utf-8")
    code = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(config)],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, ROOTS)), "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_modules_import_one_another_in_a_circle(arrows: Arrows) -> None:
    assert circles(arrows) == []


@pytest.mark.parametrize("depth", [1, 2])
def test_no_packages_import_one_another_in_a_circle(arrows: Arrows, depth: int) -> None:
    """Of the whole product, and within each source root's packages."""
    assert circles(by_package(arrows, depth)) == []


def test_few_modules_lie_loose() -> None:
    assert {path.stem for path in HOST.glob("*.py")} == LOOSE


def test_the_api_is_small() -> None:
    assert len(api.__all__) <= MOST_NAMES
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
