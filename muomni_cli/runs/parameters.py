"""How many parameters the parts of a recipe have, counted on parts with fresh weights. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from muomni_cli.contract.declarations import Can
from muomni_cli.recipe import Chosen, Recipe
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.arguments import code_shape
from muomni_cli.runs.parts import build_part


def parameters_of(recipe: Recipe) -> dict[str, int]:
    """Parameters of each part that the recipe names, and of the projectors from encoders to the Thinker.

    The Talker is counted with one voice, the Thinker with all ids that the tokenizer may have.

    Raises:
        RequestError: a part cannot be built from its settings.
    """
    with torch.random.fork_rng(devices=[]):
        return {name: sum(p.numel() for p in module.parameters()) for name, module in _modules(recipe)}


def _modules(recipe: Recipe) -> Iterator[tuple[str, nn.Module]]:
    width = 0 if recipe.thinker is None else int(getattr(recipe.thinker.config, "d_model", 0))
    if recipe.thinker is not None and recipe.tokenizer is not None:
        yield "thinker", _build(recipe.thinker, {"vocab_size": _vocabulary(recipe.tokenizer)})
    encoders = {name: _build(chosen, {}) for name, chosen in recipe.encoders.items()}
    yield from encoders.items()
    if encoders and width:
        yield "projectors", nn.ModuleList(nn.Linear(int(one.width), width) for one in encoders.values())
    if recipe.codec is None:
        return
    codec = _build(recipe.codec, {})
    yield "codec", codec
    if recipe.vocoder is not None:
        yield "vocoder", _build(recipe.vocoder, {"mel": codec.mel.model_dump(mode="json")})
    if recipe.talker is not None:
        told = {"codes": asdict(code_shape(codec)), "voices": [""], "thinker_width": width}
        yield "talker", _build(recipe.talker, told)


def _build(chosen: Chosen, entry: dict[str, Any]) -> Any:
    return build_part(chosen.registered, chosen.config, entry)


def _vocabulary(tokenizer: Chosen) -> int:
    """How many ids there may be: as the config says, or as a tokenizer has that learns none."""
    size = getattr(tokenizer.config, "vocab_size", None)
    part = tokenizer.registered.part
    if size is None and part.objective is not None and Can.TRAINABLE not in part.can:
        size = resolve(part.objective, f"tokenizer {part.name}")(tokenizer.config, iter(())).vocab_size
    return int(size or 0)
