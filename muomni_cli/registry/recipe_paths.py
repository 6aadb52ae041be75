"""Paths in recipes: variables, ``~`` and public datasets."""

from __future__ import annotations

import os
import re
from pathlib import Path

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import data_folder

_VARIABLE = re.compile(r"\$(?:(?P<name>\w+)|\{(?P<braced>\w+)(?::-(?P<default>[^}]*))?\})")


def expand_path(text: str) -> Path:
    """Expand a recipe's path: ``~``, ``$NAME``, ``${NAME}``, ``${NAME:-default}``, and ``set:NAME`` or
    ``set:NAME/FILE`` for a file of a public dataset. ``MUOMNI_DATA`` defaults to
    :func:`muomni_cli.core.files.data_folder`.

    Raises:
        RequestError: an unset variable without a default, or a dataset that is unknown or not downloaded.
    """
    if text.startswith("set:"):
        from muomni_cli.registry.sets import find_file

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
