"""What Node needs to check the package muomni-web: its packages installed, its sources compiled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "exports" / "muomni_web" / "npm"
TOLD = "MUOMNI_WEB_NODE"  # environment variable: a folder whose node_modules has the package's dependencies


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with its dependencies and ``dist``; skips where they cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node is not installed")
    folder = tmp_path_factory.mktemp("node") / "npm"
    ignored = shutil.ignore_patterns("node_modules", "dist")
    shutil.copytree(PACKAGE, folder, ignore=ignored)
    told = os.environ.get(TOLD)
    if told and (Path(told) / "node_modules").is_dir():
        (folder / "node_modules").symlink_to(Path(told) / "node_modules")
    else:
        done = run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
        if done.returncode:
            pytest.skip(f"the packages of muomni-web cannot be installed here: {done.stderr.strip()[-200:]}")
    done = run(["node_modules/.bin/tsc", "-p", "tsconfig.json"], folder)
    assert done.returncode == 0, done.stdout
    return folder


def run(words: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=1200
    )
