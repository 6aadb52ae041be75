"""Griffe extension: reStructuredText in docstrings becomes Markdown.

References of the form :class:`~package.Name` become ``Name``, and the two colons before an indented block one.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":\w+:`~?(?:[^`]*\.)?([^`.]+)`")
LITERAL = re.compile(r"(?<=\S)::$", re.MULTILINE)
LONE = re.compile(r"^[ ]*::$", re.MULTILINE)


class Markdown(griffe.Extension):
    """Rewrites docstrings before they are rendered as Markdown."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one object.

        Args:
            obj: module, class, function or attribute.
        """
        if obj.docstring is not None:
            text = LONE.sub("", LITERAL.sub(":", obj.docstring.value))
            obj.docstring.value = ROLE.sub(r"`\1`", text)
