"""Laws of runtimes: what :class:`muomni_cli.api.RuntimePart` promises of folders that are no models.
Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from muomni_cli.contract.conformance import Broken, Law, Number, Subject, require
from muomni_cli.contract.declarations import RuntimePart
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.loading import describe

MARKS = {"an empty marker": b"", "a marker of random bytes": bytes(range(256)), "a marker that says nothing": b"{}"}


def refuses(subject: Subject) -> Sequence[Number]:
    """Folders without the marker, and with one that means nothing."""
    part = subject.part
    assert isinstance(part, RuntimePart), "laws are tried on their own kind"
    _require_refused(subject, subject.folder(), "an empty folder")
    for what, content in MARKS.items():
        folder = subject.folder()
        (folder / part.marker).write_bytes(content)
        _require_refused(subject, folder, what)
    return [Number("folders refused", 1 + len(MARKS))]


def _require_refused(subject: Subject, folder: Path, what: str) -> None:
    try:
        subject.find("build")(subject.config, folder, "cpu", 1)
    except RequestError as error:
        require(bool(error.fix), f"it does not say what to do about {what}: {error.what}")
    except Exception as error:
        raise Broken(f"{what} raises {describe(error)}, not a RequestError") from error
    else:
        raise Broken(f"{what} is opened as a model")


LAWS = (
    Law(
        name="refuses",
        doc="a folder that is no model of its sort is a RequestError",
        check=refuses,
        after=("references",),
    ),
)
