"""What the contracts of tests/host/test_layers.py cannot say of imports: what is loaded in the end, and that no test is
part of the product."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOST = ROOT / "muomni_cli"

TORCH_FREE = sorted(
    path
    for part in ("core", "contract", "registry", "recipe", "data", "generation")
    for path in (HOST / part).rglob("*.py")
    if path.name not in ("torch_backend.py",)
)


def imported(path: Path) -> Iterator[str]:
    """Every module that ``path`` imports anywhere in it, inside functions and ``TYPE_CHECKING`` included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            assert node.module is not None
            yield node.module


def where(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_torch_is_not_drawn_in_by_what_must_run_without_it() -> None:
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in TORCH_FREE]
    code = (
        f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("root", [HOST, ROOT / "plugins", ROOT / "exports"], ids=where)
def test_nothing_imports_the_tests(root: Path) -> None:
    for path in root.rglob("*.py"):
        assert "tests" not in {module.split(".")[0] for module in imported(path)}, path
