"""What every test shares: nothing outside the test's own folder is read or written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.installing import Site
    from tests.whole import Whole


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own cache and config folders, no model from the environment."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MUOMNI_CACHE", str(home / "cache"))
    monkeypatch.setenv("MUOMNI_CONFIG", str(home / "config"))
    monkeypatch.delenv("MUOMNI_MODEL", raising=False)
    return home


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A tiny model of all parts, made once for all tests that use it, and never changed."""
    from tests.whole import make_whole

    return make_whole(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Site]:
    """``pip("motion")`` installs the package ``tests/plugins/motion``, or that of a path, by pip, as anybody would."""
    from tests.installing import install

    return lambda *packages: install(tmp_path_factory.mktemp("site"), *packages)
