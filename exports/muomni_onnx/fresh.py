"""A recipe on its way into a bundle, with random weights: what a model of that size weighs and how fast it is.

Imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch

from muomni_cli.api import Codec
from muomni_cli.omni.model import Omni
from muomni_cli.recipe import Chosen, Recipe, load_recipe
from muomni_cli.recipe.write import fingerprint
from muomni_cli.runs.arguments import code_shape
from muomni_cli.runs.folder import part_entry
from muomni_cli.runs.parts import build_part
from muomni_cli.trace.open import tokenizer_for
from muomni_onnx.parts import THINKER, Exported, Model, exported, head_of, lesson_of, projection


def model_of_recipe(name: str, overrides: Sequence[str] = ()) -> Model:
    """Every part of a recipe, with the weights that its training would begin with.

    Raises:
        RequestError: no such recipe, a mistake in it, or no tokenizer serves it.
    """
    recipe = load_recipe(name, overrides)
    torch.manual_seed(recipe.seed)
    parts, tokenizer = _thinking(recipe) if recipe.thinker is not None else (_encoders(recipe), None)
    provenance = {"recipe": recipe.name, "recipe_sha256": fingerprint(recipe), "untrained": True, "data": {}}
    chat = recipe.chat.model_dump(mode="json")
    return Model(recipe.name, [*parts, *_speaking(recipe)], chat, tokenizer, provenance)


def _thinking(recipe: Recipe) -> tuple[list[Exported], tuple[Any, Mapping[str, Any]]]:
    """The Thinker with its encoders, and the tokenizer."""
    tokenizer, known, size = tokenizer_for(recipe)
    entry, thinker = _built(cast("Chosen", recipe.thinker), {"vocab_size": size})
    encoders = _encoders(recipe)
    omni = Omni(thinker, {part.name: cast("Any", part.module) for part in encoders})
    omni.reset_projectors()
    joined = [
        Exported(one.name, one.entry, one.module, [*one.graphs, *projection(cast("Any", omni.projectors[one.name]))])
        for one in encoders
    ]
    return [exported(THINKER, entry, thinker), *joined], (tokenizer, known)


def _encoders(recipe: Recipe) -> list[Exported]:
    """Each with its head, where it needs to know nothing of what was learned."""
    parts = []
    for modality, chosen in recipe.encoders.items():
        entry = part_entry(chosen.registered, chosen.config, "")
        lesson = lesson_of(chosen.registered, chosen.config, None)
        if lesson is None:
            parts.append(exported(modality, entry, build_part(chosen.registered, chosen.config, entry)))
        else:
            parts.append(exported(modality, entry, lesson.encoder, more=head_of(chosen.registered, lesson)))
    return parts


def _speaking(recipe: Recipe) -> list[Exported]:
    """Codec, Talker and vocoder."""
    if recipe.codec is None:
        return []
    entry, module = _built(recipe.codec, {})
    codec: Codec = module
    width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
    told = {"codes": asdict(code_shape(codec)), "voices": [""], "thinker_width": width}
    parts = [exported("codec", entry, codec)]
    for name, chosen, more in (
        ("talker", recipe.talker, told),
        ("vocoder", recipe.vocoder, {"mel": codec.mel.model_dump(mode="json")}),
    ):
        if chosen is not None:
            parts.append(exported(name, *_built(chosen, more)))
    return parts


def _built(chosen: Chosen, more: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """What ``model.json`` would say of a part, and the part with fresh weights."""
    entry = part_entry(chosen.registered, chosen.config, "", **more)
    return entry, build_part(chosen.registered, chosen.config, entry)
