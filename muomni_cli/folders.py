"""Where muomni keeps what is not part of a project, and what a path in a recipe means."""

from __future__ import annotations

import os
import re
from pathlib import Path

from muomni_cli.errors import RequestError


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


_VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\})")


def expand_path(text: str) -> Path:
    """A path as a recipe writes it: ``~``, ``$NAME``, ``${NAME}`` and ``${NAME:-default}`` are replaced, and
    ``set:NAME`` or ``set:NAME/FILE`` is a file of a public dataset. ``MUOMNI_DATA`` is :func:`data_folder` where it is
    not set.

    Raises:
        RequestError: a variable that is not set and has no default, or a dataset that is unknown or not here.
    """
    if text.startswith("set:"):
        from muomni_cli.data.sets import find_file

        return find_file(text)

    def value(match: re.Match[str]) -> str:
        name, default = match["name"] or match["braced"], match["default"]
        found = os.environ.get(name) or default
        if found is None and name == "MUOMNI_DATA":
            return str(data_folder())
        if found is None:
            raise RequestError(
                f"{text!r} needs the environment variable {name}, which is not set",
                f"set {name}, or write a default: ${{{name}:-DEFAULT}}",
            )
        return found

    return Path(_VARIABLE.sub(value, text)).expanduser()
