"""Laws of callbacks: what :class:`muomni_cli.api.Callback` promises. Imports no torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muomni_cli.contract.conformance import Broken, Law, Number, Subject, require
from muomni_cli.runs.folder import LAST

CALLS: Mapping[str, tuple[Any, ...]] = {
    "on_start": (None,),
    "on_log": (1, {"loss": 1.0}),
    "on_validation": (1, {"loss": 1.0}),
    "on_checkpoint": (1, Path(LAST)),
    "on_end": (1, "finished"),
}
"""Every method, and what it is called with."""


def follower(subject: Subject) -> Any:
    """The callback."""
    return subject.once("follower", lambda: subject.find("build")(subject.config))


def builds(subject: Subject) -> Sequence[Number]:
    """Of its small config."""
    follower(subject)
    return []


def methods(subject: Subject) -> Sequence[Number]:
    """None is called: what they would do, only a stage can tell."""
    for name, arguments in CALLS.items():
        method = getattr(follower(subject), name, None)
        require(callable(method), f"it has no method {name}")
        try:
            inspect.signature(method).bind(*arguments)  # type: ignore[arg-type]
        except TypeError as error:
            raise Broken(f"{name} cannot be called with {len(arguments)} arguments: {error}") from error
    return [Number("methods", len(CALLS))]


LAWS = (
    Law(name="builds", doc="it is built of its small config", check=builds, after=("references",)),
    Law(
        name="methods",
        doc="it has on_start, on_log, on_validation, on_checkpoint and on_end, with the arguments of each",
        check=methods,
        after=("builds",),
    ),
)
