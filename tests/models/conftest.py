"""The tiny model of all parts as a package, installed, and as this process sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from muomni_cli.models.package import PackageOptions, pack
from tests.models.installed import SCORE, Package, see

if TYPE_CHECKING:
    from tests.tiny_model import Whole


@pytest.fixture(scope="session")
def package(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The model ``tiny``, with bundle and run, installed by pip. Never changed."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "scores.json").write_text(f"[{SCORE}]".replace("'", '"'))
    order = PackageOptions(
        "tiny", "1.2", bundle=whole.bundle, scores=[folder / "scores.json"], license='CC0 "as it is"', half=False
    )
    assert pack(str(whole.run), folder / "source", order).name == "tiny"
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    alone = ["--no-index", "--no-build-isolation", "--no-compile", "--target", folder / "site", folder / "source"]
    done = subprocess.run([*command, *alone], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Package(folder / "source", folder / "site")


@pytest.fixture
def seen(package: Package, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Package:
    """The package, seen by this process as one that is installed; the working directory has no runs."""
    monkeypatch.chdir(tmp_path)
    see(package.site, "muomni_model_tiny", monkeypatch)
    return package
