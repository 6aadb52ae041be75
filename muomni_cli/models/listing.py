"""The models of installed packages, for ``muomni models list``: what their packages declare. Opens nothing."""

from __future__ import annotations

from typing import Any

from muomni_cli.registry.registry import RegisteredModel, get_registry


def installed_models() -> list[dict[str, Any]]:
    """Every one."""
    return [declared(offer) for offer in get_registry().models()]


def declared(offer: RegisteredModel) -> dict[str, Any]:
    """What its package says of a model."""
    model, plugin = offer.part, offer.plugin
    paths = {field: getattr(model, field) for field in ("bundle", "run", "card", "scores")}
    return {
        "name": model.name,
        "use": offer.use,
        "doc": model.doc,
        "package": plugin.origin,
        "version": plugin.version,
        "licence": model.licence,
        **{field: None if path is None else str(path) for field, path in paths.items()},
    }
