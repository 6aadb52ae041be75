"""What the tests of the host share: real entry points, made in a folder, and a clean process to look at them from."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muomni_cli.registry.loading import Plugin, load_plugins

Install = Callable[..., Path]
Load = Callable[[], list[Plugin]]
Muomni = Callable[..., "subprocess.CompletedProcess[str]"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A folder that plays ``site-packages``: what lies in it is installed."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    return folder


@pytest.fixture
def install(strangers: Path) -> Install:
    """``install(name, source)`` writes a distribution ``name`` whose entry point names a module with this source."""

    def write(name: str, source: str, *, entry: str = "", module: str = "", version: str = "1.2") -> Path:
        module = module or f"stranger_{name}"
        if source:
            (strangers / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = strangers / f"{name}_dist-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[muomni]\n{entry or name} = {module}\n")
        return strangers

    return write


@pytest.fixture
def load(strangers: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """``load()`` gives the strangers' plugins, loaded in this process as if it had just started."""
    monkeypatch.syspath_prepend(str(strangers))

    def forget() -> None:
        for module in [name for name in sys.modules if name.startswith("stranger_")]:
            del sys.modules[module]

    def run() -> list[Plugin]:
        forget()
        importlib.invalidate_caches()
        return [plugin for plugin in load_plugins() if plugin.info.origin.endswith("-dist")]

    yield run
    forget()


@pytest.fixture
def muomni(strangers: Path, tmp_path: Path) -> Muomni:
    """``muomni("plugins", "list")`` in a process of its own that sees the checkout and the strangers."""

    def run(*words: str, python: str = sys.executable, **environment: str) -> subprocess.CompletedProcess[str]:
        variables = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{strangers}"} | environment
        command = [python, "-m", "muomni_cli", *words]
        return subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path, check=False)

    return run
