"""Where muomni keeps what is not part of a project, and what a path in a recipe means."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """``$MUOMNI_CONFIG``, else ``muomni`` in ``$XDG_CONFIG_HOME`` or ``~/.config``. It may not exist yet."""
    return _folder("MUOMNI_CONFIG", "XDG_CONFIG_HOME", ".config")


def cache_folder() -> Path:
    """``$MUOMNI_CACHE``, else ``muomni`` in ``$XDG_CACHE_HOME`` or ``~/.cache``. It may not exist yet."""
    return _folder("MUOMNI_CACHE", "XDG_CACHE_HOME", ".cache")


def data_folder() -> Path:
    """Where public datasets lie: ``$MUOMNI_DATA``, else the platform's folder for data. It may not exist yet."""
    if named := os.environ.get("MUOMNI_DATA"):
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_data_path("muomni", appauthor=False)


def _folder(own: str, base: str, fallback: str) -> Path:
    if named := os.environ.get(own):
        return Path(named).expanduser()
    return Path(os.environ.get(base) or Path.home() / fallback) / "muomni"
