"""muomni: train tiny omni models, run them and export them::

    from muomni_cli import RequestError, load

    with load("nano") as model:
        print(model.chat("What do you see?", image="x.png"))

Importing the package only makes the source roots of a bare checkout importable. All names are imported when first used.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muomni_cli.contract.form import Form
    from muomni_cli.core.errors import MuomniError, RequestError, __version__
    from muomni_cli.inference.model import Model, load

__all__ = ["Form", "Model", "MuomniError", "RequestError", "__version__", "load"]

_HOMES = {
    "Form": "muomni_cli.contract.form",
    "Model": "muomni_cli.inference.model",
    "MuomniError": "muomni_cli.core.errors",
    "RequestError": "muomni_cli.core.errors",
    "__version__": "muomni_cli.core.errors",
    "load": "muomni_cli.inference.model",
}


def _find_source_roots() -> None:
    """Append ``plugins/`` and ``exports/`` of a checkout to ``sys.path``.

    An installation has them on the path already, and comes first. The project file tells a checkout from a
    ``site-packages`` in which somebody else's package is called ``plugins``.
    """
    checkout = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.isfile(os.path.join(checkout, "pyproject.toml")):
        return
    for name in ("plugins", "exports"):
        root = os.path.join(checkout, name)
        if os.path.isdir(root) and root not in sys.path:
            sys.path.append(root)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


_find_source_roots()
