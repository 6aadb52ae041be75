"""Parts of a run as modules, with the weights that training left. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muomni_cli.contract.declarations import EncoderPart, Part, VocoderPart
from muomni_cli.contract.speech import Codec
from muomni_cli.core.errors import RequestError
from muomni_cli.omni.model import Omni
from muomni_cli.recipe.model import Chosen, Recipe
from muomni_cli.registry.registry import Registered, resolve
from muomni_cli.runs.arguments import build_arguments
from muomni_cli.runs.checkpoint import load_model, read_checkpoint
from muomni_cli.runs.folder import RunFolder, open_entry

PREFIXES: dict[type[Part], str] = {EncoderPart: "encoder.", VocoderPart: "vocoder."}
"""What the names of a part's weights begin with in its own stage's checkpoints; see the declarations."""


def build_part(registered: Registered, config: Any, entry: Mapping[str, Any]) -> Any:
    """A part with fresh weights, from what ``model.json`` says of it."""
    part = registered.part
    return resolve(part.build, f"{part.kind} {part.name}")(config, **build_arguments(entry))


def build_aside(registered: Registered, config: Any, entry: Mapping[str, Any]) -> Any:
    """:func:`build_part` that leaves torch's random numbers as they were, so that a training in which it happens goes
    on alike, whenever it happens."""
    with torch.random.fork_rng(devices=[]):
        return build_part(registered, config, entry)


def weights_of(run: RunFolder, stage: str, command: str) -> Path:
    """The checkpoint of a stage that others build on: the best, else the last.

    Raises:
        RequestError: there is none; ``command`` is what makes it.
    """
    found = run.checkpoint(stage)
    if found is None:
        raise RequestError(f"run {run.root} has no trained {stage} yet", f"train it first: {command}")
    return found


def open_part(run: RunFolder, stage: str, command: str) -> tuple[nn.Module, Path]:
    """The part that a stage trained, and its checkpoint; averaged weights where there are some.

    Raises:
        RequestError: it has not been trained; ``command`` trains it.
    """
    _, _, entry = run.part(stage, command)
    weights = weights_of(run, stage, command)
    return load_part(entry, weights), weights


def load_part(entry: Mapping[str, Any], weights: Path) -> nn.Module:
    """A part with the weights of its own stage's checkpoint; averaged weights where there are some."""
    registered, config = open_entry(entry)
    module: nn.Module = build_aside(registered, config, entry)
    prefix = next((prefix for kind, prefix in PREFIXES.items() if isinstance(registered.part, kind)), "")
    load_model(module, read_checkpoint(weights), ema=True, prefix=prefix)
    return module


def omni_entries(run: RunFolder) -> dict[str, dict[str, Any]]:
    """What the omni stage says of the parts that it trained together: ``thinker``, and its encoders in their order."""
    entries: dict[str, dict[str, Any]] = run.model()["stages"].get("omni", {}).get("parts", {})
    return entries


def open_omni(run: RunFolder, weights: Path) -> Omni:
    """The whole model as the omni stage left it in ``weights``."""
    made = {name: build_part(*open_entry(entry), entry) for name, entry in omni_entries(run).items()}
    omni = Omni(made.pop("thinker"), made)
    load_model(omni, read_checkpoint(weights), ema=True)
    return omni


def fresh_codec(recipe: Recipe) -> Codec:
    """The recipe's codec with random weights. RequestError if it names none."""
    codec: Codec = build_aside(codec_of(recipe).registered, codec_of(recipe).config, {})
    return codec


def codec_of(recipe: Recipe) -> Chosen:
    """The codec that a recipe selects. RequestError if it names none."""
    if recipe.codec is None:
        raise RequestError(
            f"recipe {recipe.name} has no codec, which speech needs", 'add a table [codec] with use = "..."'
        )
    return recipe.codec
