"""Trained models as ONNX graphs in one folder, and running them without PyTorch.

As a library::

    from muomni_onnx import Omni

    with Omni("my-bundle") as omni:
        print(omni.chat("what is this?", image="x.png"))
        samples, rate = omni.speak("hello")
        print(omni.transcribe((samples, rate)))

What is named here is imported when it is first used, for this package is imported by every command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from muomni_cli.api import MuomniError, RequestError, Word
    from muomni_onnx.omni import Omni
    from muomni_onnx.talk import Talk

__all__ = ["MuomniError", "Omni", "RequestError", "Talk", "Word"]

_HOMES = {"Omni": "muomni_onnx.omni", "Talk": "muomni_onnx.talk"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "muomni_cli.api")), name)
