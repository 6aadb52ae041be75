"""Which plugins the user has switched off: one small file in the configuration folder.

Knows names only; whether a plugin of that name exists is for the caller to ask.
"""

from __future__ import annotations

import json
from pathlib import Path

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_json
from muomni_cli.core.paths import config_folder


def disabled_plugins() -> frozenset[str]:
    """Names of the plugins that are switched off.

    Raises:
        RequestError: the file holds something else.
    """
    path = _path()
    try:
        names = json.loads(path.read_text(encoding="utf-8"))["disabled"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(names)
    except FileNotFoundError:
        return frozenset()
    except (ValueError, KeyError, TypeError):
        raise RequestError(
            f'{path} is not {{"disabled": [names]}}', f"mend it, or start anew with: rm {path}"
        ) from None
    return frozenset(names)


def switch(plugin: str, *, on: bool) -> bool:
    """Switch ``plugin`` on or off for every later command; whether that changed anything."""
    before = disabled_plugins()
    after = before - {plugin} if on else before | {plugin}
    if after != before:
        write_json(_path(), {"disabled": sorted(after)})
    return after != before


def _path() -> Path:
    return config_folder() / "plugins.json"
