"""Errors shown to the user, and installed packages: muomni's version, and which extra installs a missing package."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # parent folder of ``muomni_cli``: a checkout, or ``site-packages``
PYPROJECT = ROOT / "pyproject.toml"  # exists only in a checkout

OPTIONAL = re.compile(r"([\w.-]+)[^;]*;.*\bextra *== *['\"]([\w.-]+)['\"]")
"""A requirement of an extra in the metadata of an installed package: ``torch==2.11; extra == 'train'``."""

LINE_BREAK = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


def _one_line(text: str) -> str:
    return LINE_BREAK.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class MuomniError(Exception):
    """A request failed: exit code 1.

    Args:
        what: one line that says what is wrong, without a full stop.
        fix: one line that says what to do; empty only if nothing can be done.

    Line breaks in them, which are those of a name of a file, are escaped.
    """

    exit_code = 1

    def __init__(self, what: str, fix: str = "") -> None:
        what, fix = _one_line(what), _one_line(fix)
        super().__init__(what)
        self.what = what
        self.fix = fix
        if fix:
            self.add_note(f"fix: {fix}")  # shown in tracebacks when muomni is used as a library


class RequestError(MuomniError):
    """An invalid request (argument, recipe, file, model): exit code 2."""

    exit_code = 2


try:
    __version__ = metadata.version("muomni")
except metadata.PackageNotFoundError:  # a checkout that is not installed
    __version__ = str(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


def require(wanted_by: str, *packages: str, otherwise: str = "") -> None:
    """MuomniError if ``packages`` (import names) are not installed; does not import them. For the error: ``wanted_by``,
    what needs them, and ``otherwise``, an alternative to installing them."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise MuomniError(*absence(wanted_by, missing, otherwise))


def missing_package(error: ModuleNotFoundError) -> str | None:
    """The missing package that caused ``error``; None for other causes: one of muomni's own packages, or a missing
    submodule of an installed package."""
    package = (error.name or "").partition(".")[0]
    own = re.fullmatch(r"muomni(_\w+)?", package)  # if one is missing, the installation is broken
    if not package or own or importlib.util.find_spec(package) is not None:
        return None
    return package


def absence(wanted_by: str, packages: Sequence[str], otherwise: str = "") -> tuple[str, str]:
    """Problem and fix for missing ``packages``."""
    *most, last = packages
    listed = f"{', '.join(most)} and {last}" if most else last
    what = f"{wanted_by} needs {listed}, which {'are' if most else 'is'} not installed"
    fix = f"install {'them' if most else 'it'}: {how_to_install(packages)}"
    return what, f"{fix}; {otherwise}" if otherwise else fix


def how_to_install(packages: Sequence[str]) -> str:
    """The command that installs ``packages``: muomni's extras where possible, others by name."""
    known = extras()
    names = list(dict.fromkeys(known[package] for package in packages if package in known))
    ours = [f"'muomni[{','.join(names)}]'"] if names else []
    return " ".join(["pip install", *ours, *(package for package in packages if package not in known)])


def extras() -> dict[str, str]:
    """Package -> the first extra of muomni that installs it; empty if muomni itself is not installed."""
    found: dict[str, str] = {}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires("muomni") or []:
            if match := OPTIONAL.match(requirement):
                found.setdefault(match[1], match[2])
    return found
