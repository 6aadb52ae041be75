"""What every test shares: nothing outside the test's own folder is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own cache and config folders, no model from the environment."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MUOMNI_CACHE", str(home / "cache"))
    monkeypatch.setenv("MUOMNI_CONFIG", str(home / "config"))
    monkeypatch.delenv("MUOMNI_MODEL", raising=False)
    return home


@dataclass(frozen=True, slots=True)
class Whole:
    """A tiny model of all parts, trained by nobody, twice: as the ``run`` and as the ``bundle`` exported of it; and a
    ``picture`` and a ``sound`` to ask about."""

    run: Path
    bundle: Path
    picture: Path
    sound: Path


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """Made once for all tests that use it, and never changed."""
    import torch

    from tests.whole import export, make_media, make_run

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    run, bundle = make_run(folder / "run").root, folder / "bundle"
    export(run, bundle)
    return Whole(run, bundle, *make_media(folder))
