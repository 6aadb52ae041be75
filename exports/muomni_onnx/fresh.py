"""A recipe with random weights for export: size and speed of a model before it is trained. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch

from muomni_cli.models.untrained_engine import SPEECH, UntrainedEngine, recipe_engine, tokenizer_for
from muomni_cli.recipe import load_recipe
from muomni_cli.recipe.write import fingerprint
from muomni_cli.runs.folder import open_entry
from muomni_cli.runs.parts import build_part
from muomni_onnx.parts import THINKER, Exported, Model, exported, head_of, lesson_of, projection


def model_of_recipe(name: str, overrides: Sequence[str] = ()) -> Model:
    """Every part of a recipe, with the weights that its training would begin with.

    Raises:
        RequestError: no such recipe, a mistake in it, or no tokenizer serves it.
    """
    recipe = load_recipe(name, overrides)
    engine = recipe_engine(name, overrides, device="cpu")
    parts, tokenizer = [], None
    if THINKER in engine.parts:
        parts.append(exported(THINKER, engine.parts[THINKER], engine.omni().thinker))
        tokenizer = (engine.tokenizer(), tokenizer_for(recipe)[1])
    torch.manual_seed(recipe.seed)
    parts += [_encoder(engine, modality) for modality in recipe.encoders]
    parts += [exported(part, engine.parts[part], engine.speech_module(part)) for part in SPEECH if part in engine.parts]
    provenance = {"recipe": recipe.name, "recipe_sha256": fingerprint(recipe), "untrained": True, "data": {}}
    return Model(recipe.name, parts, dict(engine.chat), tokenizer, provenance)


def _encoder(engine: UntrainedEngine, modality: str) -> Exported:
    """An encoder with its head, unless that needs data to be built, and with its projector."""
    entry = engine.parts[modality]
    registered, config = open_entry(entry)
    lesson = lesson_of(registered, config, None)
    if lesson is None:
        own = exported(modality, entry, build_part(registered, config, entry))
    else:
        own = exported(modality, entry, lesson.encoder, more=head_of(registered, lesson))
    if modality not in engine.modalities:
        return own
    projector = projection(cast("Any", engine.omni().projectors[modality]))
    return Exported(modality, entry, own.module, [*own.graphs, *projector])
