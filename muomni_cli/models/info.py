"""All that is known of one model, for ``muomni models info``: what its package declares, and what is inside."""

from __future__ import annotations

from typing import Any

from muomni_cli.contract.cards import as_json
from muomni_cli.models.describe import describe
from muomni_cli.models.find import Found, named
from muomni_cli.models.listing import declared
from muomni_cli.models.scores import read_scores


def details(spec: str) -> dict[str, Any]:
    """An installed model, a run or a bundle as plain data.

    Raises:
        RequestError: no such model, it is damaged, or a plugin that it needs is not here.
    """
    found = named(spec)
    return _declared(found, spec) | describe(found) | {"scores": _scores(found)}


def _declared(found: Found, spec: str) -> dict[str, Any]:
    if found.installed is not None:
        return declared(found.installed)
    name = found.folder.model()["name"] if found.folder is not None else spec
    return {"name": name, "use": spec, "doc": "", "package": "", "version": "", "licence": "", "card": None}


def _scores(found: Found) -> list[dict[str, Any]]:
    offer = found.installed
    return as_json(read_scores([offer.part.scores])) if offer is not None and offer.part.scores else []
