"""Griffe extension: references of the form :class:`~package.Name` in docstrings become ``Name``."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":\w+:`~?(?:[^`]*\.)?([^`.]+)`")


class Roles(griffe.Extension):
    """Rewrites docstrings before they are rendered as Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object.

        Args:
            obj: module, class, function or attribute.
        """
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(r"`\1`", obj.docstring.value)
