"""Arrows point one way: who may import whom, read from the source without running it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "muomni_cli"
PLUGINS = ROOT / "plugins"

PLUGIN_PACKAGES = {folder.name for folder in PLUGINS.iterdir() if (folder / "__init__.py").is_file()}
TORCH_FREE = sorted(
    path
    for path in (
        HOST / "prompt.py",
        *(p for part in ("generation", "data", "recipe") for p in (HOST / part).rglob("*.py")),
    )
    if path.name not in ("torch_backend.py", "panels.py")
)
SHARED = ("muomni_cli.api.", "muomni_cli.layers.", "muomni_cli.sound.")
"""What plugins may import of the host: its contract, and what several parts are made of."""


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that ``path`` imports anywhere in it, inside functions and ``TYPE_CHECKING`` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", sources(PLUGINS), ids=where)
def test_plugins_see_the_host_through_its_api_and_shared_layers_only(path: Path) -> None:
    host = [module for module in imported(path) if module.split(".")[0] == "muomni_cli"]
    assert [module for module in host if not module.startswith(SHARED)] == []


@pytest.mark.parametrize("path", sources(PLUGINS), ids=where)
def test_plugins_do_not_know_each_other(path: Path) -> None:
    own = path.relative_to(PLUGINS).parts[0]
    assert {module.split(".")[0] for module in imported(path)} & PLUGIN_PACKAGES <= {own}


@pytest.mark.parametrize("path", sources(HOST), ids=where)
def test_the_host_imports_no_plugin(path: Path) -> None:
    assert {module.split(".")[0] for module in imported(path)} & PLUGIN_PACKAGES == set()


@pytest.mark.parametrize("path", TORCH_FREE, ids=where)
def test_torch_stays_out_of_what_must_run_without_it(path: Path) -> None:
    assert [module for module in imported(path) if module.split(".")[0] == "torch"] == []


def test_torch_is_not_drawn_in_through_others_either() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in TORCH_FREE]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("path", [*sources(HOST), *sources(PLUGINS), *sources(ROOT / "exports")], ids=where)
def test_nothing_imports_the_tests(path: Path) -> None:
    assert "tests" not in {module.split(".")[0] for module in imported(path)}
