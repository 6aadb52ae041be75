"""Installed packages: the version of muomni, and the extra that brings a package that is missing."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import tomllib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from muomni_cli.core.errors import MuomniError

ROOT = Path(__file__).resolve().parents[2]
"""What ``muomni_cli`` lies in: a checkout, or ``site-packages``."""

PYPROJECT = ROOT / "pyproject.toml"
"""Of a checkout; an installation has none."""

OWN = re.compile(r"muomni(_\w+)?")
"""Packages of ours; one that is missing is a mistake in what was installed, not something to install beside it."""

OPTIONAL = re.compile(r"([\w.-]+)[^;]*;.*\bextra *== *['\"]([\w.-]+)['\"]")
"""A requirement of an extra, as the metadata of an installed package say it: ``torch==2.11; extra == 'train'``."""


def _version() -> str:
    """Version of the installed distribution, or of the checkout when nothing is installed."""
    try:
        return metadata.version("muomni")
    except metadata.PackageNotFoundError:
        return str(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


__version__ = _version()


def require(wanted_by: str, *packages: str, otherwise: str = "") -> None:
    """See that all ``packages`` are there, before work begins that needs them; imports none.

    Args:
        wanted_by: who needs them, for the error.
        packages: names to import.
        otherwise: what else can be done than to install them.

    Raises:
        MuomniError: some are not installed.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise MuomniError(*absence(wanted_by, missing, otherwise))


def missing_package(error: ModuleNotFoundError) -> str | None:
    """The package whose absence ``error`` is; None where it is something else: one of ours, or a module that a package
    that is there does not have."""
    package = (error.name or "").partition(".")[0]
    if not package or OWN.fullmatch(package) or importlib.util.find_spec(package) is not None:
        return None
    return package


def absence(wanted_by: str, packages: Sequence[str], otherwise: str = "") -> tuple[str, str]:
    """What is wrong, and what to do about it, where ``packages`` are missing."""
    *most, last = packages
    listed = f"{', '.join(most)} and {last}" if most else last
    what = f"{wanted_by} needs {listed}, which {'are' if most else 'is'} not installed"
    fix = f"install {'them' if most else 'it'}: {how_to_install(packages)}"
    return what, f"{fix}; {otherwise}" if otherwise else fix


def how_to_install(packages: Sequence[str]) -> str:
    """The command that brings ``packages``: those extras of muomni that have them, and the others by name."""
    known = extras()
    names = list(dict.fromkeys(known[package] for package in packages if package in known))
    ours = [f"'muomni[{','.join(names)}]'"] if names else []
    return " ".join(["pip install", *ours, *(package for package in packages if package not in known)])


def extras() -> dict[str, str]:
    """Package -> the first extra of muomni that brings it; none where muomni runs without having been installed."""
    found: dict[str, str] = {}
    with contextlib.suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires("muomni") or []:
            if match := OPTIONAL.match(requirement):
                found.setdefault(match[1], match[2])
    return found
