"""muomni: train tiny omni models, run them and export them::

    from muomni_cli import RequestError, load

    with load("nano") as model:
        print(model.chat("What do you see?", image="x.png"))

Importing the package finds its version and, in a bare checkout, makes the source roots importable. The names below are
imported when first used."""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muomni_cli.errors import MuomniError, RequestError
    from muomni_cli.inference.model import Model, load

__all__ = ["Model", "MuomniError", "RequestError", "__version__", "load"]

_HOMES = {
    "Model": "muomni_cli.inference.model",
    "MuomniError": "muomni_cli.errors",
    "RequestError": "muomni_cli.errors",
    "load": "muomni_cli.inference.model",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


_find_source_roots()
__version__ = _version()
