"""Weights that a run refers to, by folder and digest, instead of holding a copy in every checkpoint: those of parts
that no stage trains, because they came from a checkpoint in Hugging Face's format and are frozen.

A module that has been given a :class:`WeightsReference` is left out of checkpoints
(:func:`muomni_cli.runs.checkpoint.model_tensors`); opening the run fills it from the folder again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from muomni_cli.core.errors import RequestError
from muomni_cli.nn.checkpoint_files import digest_of
from muomni_cli.recipe.model import PartSpec, is_frozen
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.registry.sets import expand_path

KEY = "reference"  # of an entry of ``model.json``
ATTRIBUTE = "weights_reference"  # of a module


@dataclass(frozen=True, slots=True)
class WeightsReference:
    """Where weights are: an absolute ``folder``, the SHA-256 of the weights in it, and how many parameters the part
    has (None: of a run that does not say)."""

    folder: str
    sha256: str
    parameters: int | None = None


def reference_of(module: Any) -> WeightsReference | None:
    """The reference of a module; None if its weights belong into checkpoints."""
    return getattr(module, ATTRIBUTE, None)


def referring_entry(module: Any) -> dict[str, Any]:
    """What an entry of ``model.json`` says about the module's reference; nothing if it has none."""
    found = reference_of(module)
    return {} if found is None else {KEY: asdict(found)}


def refer(module: nn.Module, chosen: PartSpec, held: Mapping[str, Any] | None = None) -> None:
    """Leave out of checkpoints a frozen part that has just loaded the weights that its config names. ``held``: its
    entry in the run that is continued. RequestError if that refers to other weights."""
    weights = getattr(chosen.config, "weights", "")
    if not (is_frozen(chosen) and weights):
        return
    folder = expand_path(weights)
    count = sum(weight.numel() for weight in module.parameters())
    found = WeightsReference(str(folder.resolve()), digest_of(folder), count)
    if held is not None and KEY in held and held[KEY]["sha256"] != found.sha256:
        raise _changed(found.folder, held[KEY]["sha256"])
    setattr(module, ATTRIBUTE, found)


def own_weights(module: Any) -> None:
    """Let checkpoints hold the weights of a module that is going to be trained."""
    if reference_of(module) is not None:
        delattr(module, ATTRIBUTE)


def fill(module: nn.Module, entry: Mapping[str, Any]) -> None:
    """Load the weights that an entry refers to, if it does, from where they were or from the folder that its settings
    name. RequestError if they are gone or have changed."""
    if KEY not in entry:
        return
    registered, config = open_entry(entry)
    known = WeightsReference(**entry[KEY])
    folder = next((place for place in (Path(known.folder), expand_path(config.weights)) if place.is_dir()), None)
    if folder is None:
        raise RequestError(
            f"the {registered.part.kind} {registered.use} needs the weights in {known.folder}, which is gone",
            f"put the folder back: its weights have the SHA-256 {known.sha256}",
        )
    if digest_of(folder) != known.sha256:
        raise _changed(str(folder), known.sha256)
    part = registered.part
    assert part.pretrained is not None, "it referred to weights"
    resolve(part.pretrained, f"{part.kind} {part.name}")(module, config.model_copy(update={"weights": str(folder)}))
    setattr(module, ATTRIBUTE, known)


def _changed(folder: str, sha256: str) -> RequestError:
    return RequestError(
        f"the weights in {folder} are not those that the run was trained with",
        f"put those with the SHA-256 {sha256} back, or train the stage again with --force",
    )
