"""Packages as they come to a user: pip installs them into a folder or an environment, and commands run there."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ROOT / "tests" / "plugins"


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with installed packages.

    Args:
        folder: plays ``site-packages``.
    """

    folder: Path

    def run(
        self, *command: str | Path, cwd: Path, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """A process that sees the packages and this checkout; fails unless it ends with ``code``."""
        paths = os.pathsep.join([str(self.folder), *(str(ROOT / root) for root in ("", "plugins", "exports"))])
        variables = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"} | environment
        done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=cwd, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def muomni(
        self, *words: str | Path, cwd: Path, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """``muomni WORDS`` in a process of its own."""
        return self.run(sys.executable, "-m", "muomni_cli", *words, cwd=cwd, code=code, **environment)


def install(folder: Path, *packages: str | Path) -> Site:
    """Packages of ``tests/plugins`` by name, or others by path, into an empty folder."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", folder]
    alone = ("--no-deps", "--no-index", "--no-build-isolation", "--no-compile")
    done = subprocess.run(
        [*command, *alone, *(PACKAGES / package for package in packages)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Site(folder)


def call(*command: str | Path, cwd: Path, path: str = "") -> str:
    """stdout of a command that must succeed, with no module path but ``path``."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_wheel(form: str, folder: Path) -> Path:
    """The wheel that the build backend makes of this checkout; ``form``: "wheel" or "editable"."""
    code = f"from hatchling.build import build_{form} as build; print(build({str(folder)!r}))"
    return folder / call(sys.executable, "-c", code, cwd=ROOT).split()[-1]


def environment_with(wheel: Path, home: Path) -> Path:
    """The Python of a fresh environment in ``home``, which has the wheel and our third-party packages."""
    call(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel, cwd=home)
    packages = next((home / "lib").glob("python*/site-packages"))
    (packages / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
