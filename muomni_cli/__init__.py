"""The host of muomni. Importing it finds its version and, in a bare checkout, makes the source roots importable."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

__all__ = ["__version__"]

_ROOT = Path(__file__).resolve().parent.parent
_PYPROJECT = _ROOT / "pyproject.toml"


def _version() -> str:
    """Version of the installed distribution, or of the checkout when nothing is installed."""
    try:
        return metadata.version("muomni")
    except metadata.PackageNotFoundError:
        return str(tomllib.loads(_PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


def _find_source_roots() -> None:
    """Append ``plugins/`` and ``exports/`` of a checkout to ``sys.path``.

    An installation has them on the path already, and comes first. The project file tells a checkout from a
    ``site-packages`` in which somebody else's package is called ``plugins``.
    """
    if not _PYPROJECT.is_file():
        return
    for name in ("plugins", "exports"):
        root = str(_ROOT / name)
        if Path(root).is_dir() and root not in sys.path:
            sys.path.append(root)


_find_source_roots()
__version__ = _version()
