"""A packed model that pip has installed, and letting this process see it."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from muomni_cli.models import locate as finding
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry, get_registry

SCORE = {"stage": "omni", "task": "colours", "metric": "exact", "value": 0.5, "low": 0.25, "high": 0.75, "n": 8}


@dataclass(frozen=True, slots=True)
class Package:
    """A packed model: its folder, and the folder that pip installed it into, which plays ``site-packages``."""

    source: Path
    site: Path

    @property
    def inside(self) -> Path:
        """The import package."""
        return self.site / "muomni_model_tiny"


def see(site: Path, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see a package in ``site``."""
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    for name in (module, f"{module}.plugin"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    plugin = Plugin(PluginInfo(module, f"{module}.plugin", "1.2", module.replace("_", "-"), "loaded"))
    plugin.load()
    assert plugin.info.status == "loaded", plugin.info.reason
    registry = Registry([*get_registry().plugins, plugin])
    monkeypatch.setattr(finding, "get_registry", lambda: registry)
