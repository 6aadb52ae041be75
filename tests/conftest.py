"""What every test shares: nothing outside the test's own folder is read or written."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from muomni_cli.registry.loading import Plugin
    from tests.installing import Site
    from tests.tiny_model import Whole


# Started by nohup or in the background of a script, a process ignores these, and so do the commands that tests stop.
for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT) if os.name == "posix" else ():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# The same examples in every run: what fails is then the change, and not chance. tests/faults draws others by seed.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that at the end no worker is left with one while the others have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real data beside the checkout, which tests use where MUOMNI_DATA is not set."""


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Own cache, config and data folders, no model from the environment; real data where there are any."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("MUOMNI_CACHE", str(home / "cache"))
    monkeypatch.setenv("MUOMNI_CONFIG", str(home / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    monkeypatch.delenv("MUOMNI_MODEL", raising=False)
    if not os.environ.get("MUOMNI_DATA") and BESIDE.is_dir():
        monkeypatch.setenv("MUOMNI_DATA", str(BESIDE))
    return home


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> list[Plugin]:
    """In this process no model is installed, not even those that come with muomni; the plugins that are left."""
    from muomni_cli.models import locate
    from muomni_cli.registry.registry import Registry, get_registry

    left = [plugin for plugin in get_registry().plugins if plugin.info.module not in ("muomni_nano", "muomni_barista")]
    monkeypatch.setattr(locate, "get_registry", lambda: Registry(left))
    return left


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A tiny model of all parts, made once for all tests that use it, in whichever worker, and never changed."""
    from tests.tiny_model import make_whole, whole_in

    folder = shared_folder(tmp_path_factory) / "whole"
    made_once(folder, make_whole)
    return whole_in(folder)


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One that all workers of this run of the tests see."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(folder: Path, make: Callable[[Path], object]) -> None:
    """Let one worker make ``folder``; the others wait until it is whole, and make it themselves if it never is."""
    beside = folder.with_name(f"{folder.name}.making")
    for _ in range(6000):
        if folder.is_dir():
            return
        try:
            beside.mkdir()
        except FileExistsError:
            time.sleep(0.1)
            continue
        try:
            make(beside)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return
    raise TimeoutError(f"nobody has made {folder} in ten minutes")


@pytest.fixture(scope="session")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Site]:
    """``pip("motion")`` installs the package ``tests/plugins/motion``, or that of a path, by pip, as anybody would."""
    from tests.installing import install

    return lambda *packages: install(tmp_path_factory.mktemp("site"), *packages)
