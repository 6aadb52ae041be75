"""The host of muomni. Importing it finds its version and, in a bare checkout, makes the source roots importable."""

from __future__ import annotations

import sys
from pathlib import Path

from muomni_cli.core.version import PYPROJECT, ROOT, __version__

__all__ = ["__version__"]


def _find_source_roots() -> None:
    """Append ``plugins/`` and ``exports/`` of a checkout to ``sys.path``.

    An installation has them on the path already, and comes first. The project file tells a checkout from a
    ``site-packages`` in which somebody else's package is called ``plugins``.
    """
    if not PYPROJECT.is_file():
        return
    for name in ("plugins", "exports"):
        root = str(ROOT / name)
        if Path(root).is_dir() and root not in sys.path:
            sys.path.append(root)


_find_source_roots()
