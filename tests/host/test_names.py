"""No built-in is named outside its own folder, but in the tuple of built-ins, recipes, docs and tests."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from muomni_cli.registry.hookspecs import KINDS
from muomni_cli.registry.loading import BUILTINS
from muomni_cli.registry.registry import get_registry

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [module.partition(".")[0] for module in BUILTINS]
MODEL = tuple(f"plugins/muomni_{name}/{folder}/" for name in ("nano", "barista") for folder in ("run", "bundle"))
"""Files of a model name the plugins that made its parts."""
TUPLE = "muomni_cli/registry/loading.py"
"""Where the tuple is."""

WORDS = {"text", "bytes", "conversations", "onnx", "transformer", "web", "flite", "folder", "hibari", "kokoro", "clip"}
"""Names of built-in parts that also mean something else: tables of a recipe, units, packages and programs of others, a
network."""


def tracked() -> list[Path]:
    """Every file of the project but recipes, docs, samples (programs of their own) and tests."""
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.split()
    if not listed:
        pytest.skip("not a checkout of git")
    docs = [
        name for name in listed if name.endswith(".md") or name.startswith(("docs/", "recipes/", "samples/", "tests/"))
    ]
    weights = [name for name in listed if name.startswith(MODEL)]
    return [ROOT / name for name in sorted({*listed} - {*docs} - {*weights}) if (ROOT / name).is_file()]


def owner(path: Path) -> str:
    """The built-in that a file belongs to; empty if it is the host's."""
    root, _, rest = str(path.relative_to(ROOT)).partition("/")
    return rest.partition("/")[0] if root in ("plugins", "exports") else ""


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Every string that is a value, no docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def test_no_package_is_named() -> None:
    named = re.compile("|".join(rf"\b{package}\b" for package in PACKAGES))
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            for name in named.findall(line):
                in_tuple = str(path.relative_to(ROOT)) == TUPLE and line.strip() in (f'"{name}.plugin",', f'"{name}",')
                if name != owner(path) and not in_tuple:
                    found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert found == []


def test_no_part_is_named() -> None:
    owners: dict[str, set[str]] = {}
    for kind in KINDS:
        for registered in get_registry().all(kind):
            if registered.plugin.origin == "built-in":
                owners.setdefault(registered.part.name, set()).add(registered.plugin.name)
    assert len(owners) > 20
    found = [
        f"{path.relative_to(ROOT)}:{line} names the part {text!r}"
        for path in tracked()
        if path.suffix == ".py"
        for line, text in strings(path)
        if text in owners.keys() - WORDS and owner(path) not in owners[text]
    ]
    assert found == []
