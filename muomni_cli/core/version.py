"""The version of muomni, and where its checkout lies."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""What ``muomni_cli`` lies in: a checkout, or ``site-packages``."""

PYPROJECT = ROOT / "pyproject.toml"
"""Of a checkout; an installation has none."""


def _version() -> str:
    """Version of the installed distribution, or of the checkout when nothing is installed."""
    try:
        return metadata.version("muomni")
    except metadata.PackageNotFoundError:
        return str(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["version"])


__version__ = _version()
