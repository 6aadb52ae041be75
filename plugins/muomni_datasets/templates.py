"""Sentences with places for facts: ``What colour is the {some_shape}?`` Knows no source."""

from __future__ import annotations

import re
from collections.abc import Mapping

PLACE = re.compile(r"\{([A-Za-z0-9_.-]+)\}")


def places(template: str) -> list[str]:
    """The facts that a template asks for."""
    return PLACE.findall(template)


def fill(template: str, facts: Mapping[str, str]) -> str | None:
    """The sentence; None where a fact is missing."""
    if any(name not in facts for name in places(template)):
        return None
    return PLACE.sub(lambda found: facts[found[1]], template)
