"""The parts that the omni stage starts from: trained in this run, from a pretrained model, or random."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from muomni_cli.core.errors import RequestError
from muomni_cli.models.locate import model_named
from muomni_cli.omni import OmniModel
from muomni_cli.runs.checkpoint import build_part, open_part
from muomni_cli.runs.run import differences, part_entry
from muomni_cli.training.base_model import PretrainedModel, load_pretrained
from muomni_cli.training.optim import scale_of

if TYPE_CHECKING:
    from muomni_cli.recipe import PartSpec, Recipe
    from muomni_cli.training.context import TrainingContext


def build_omni(context: TrainingContext) -> OmniModel:
    """The recipe's omni model with its initial weights. RequestError if a part is untrained and not to be random."""
    recipe, settings = context.recipe, context.settings
    if recipe.thinker is None or not recipe.encoders:
        raise RequestError(
            f"recipe {recipe.name} has no {'Thinker' if recipe.thinker is None else 'encoder'}",
            "the omni stage needs a table [thinker] and at least one [encoders.<modality>]",
        )
    _require_encoders(recipe, "init_encoders", settings.init_encoders, "; the Thinker needs the run's own tokenizer")
    if isinstance(settings.word_dropout, dict):
        _require_encoders(recipe, "word_dropout", settings.word_dropout)
    wanted = {"thinker": recipe.thinker, **recipe.encoders}
    base = load_pretrained(settings.init)
    parts = {stage: _begin(stage, chosen, context, base) for stage, chosen in wanted.items()}
    thinker = parts.pop("thinker")
    frozen = {name for name in parts if scale_of(f"encoders.{name}", settings.lr_scale) == 0}
    omni = OmniModel(thinker, parts, frozenset(frozen))
    omni.reset_projectors()
    if base is not None:
        for modality in recipe.encoders.keys() - settings.init_encoders.keys():
            base.fill_projector(modality, omni.projectors[modality])
    return omni


def _require_encoders(recipe: Recipe, key: str, names: Iterable[str], note: str = "") -> None:
    for name in names:
        if name not in recipe.encoders:
            raise RequestError(
                f"train.omni.{key} names {name}, and recipe {recipe.name} has no such encoder",
                f"name one of {', '.join(recipe.encoders)}{note}",
            )


def _begin(stage: str, chosen: PartSpec, context: TrainingContext, base: PretrainedModel | None) -> Any:
    """One part with its initial weights: from this run, from the run in ``init_encoders``, from ``init``, or random."""
    settings, recipe = context.settings, context.recipe
    weights: object = "random weights"
    if stage in settings.init_encoders:
        part, weights = _from_another(stage, chosen, settings.init_encoders[stage])
    elif settings.init == "random" or (context.trial and base is None and context.run.status(stage) == "missing"):
        size = {"vocab_size": context.tokenizer().vocab_size} if stage == "thinker" else {}
        part = build_part(chosen.registered, chosen.config, size)
    elif base is not None and (taken := base.part(stage, chosen)):
        part, weights = taken
    else:
        command = f'muomni train {stage} {recipe.source}    or start from random weights: train.omni.init="random"'
        part, weights = open_part(context.run, stage, command)
    context.progress(f"{stage}: {weights}")
    return part


def _from_another(stage: str, chosen: PartSpec, name: str) -> tuple[nn.Module, Path]:
    run = model_named(name).run()
    command = f"muomni train {stage} {run.recipe_path} --run {run.name}"
    _, _, held = run.part(stage, command)
    wanted = part_entry(chosen.registered, chosen.config, "")
    if changed := differences(held, wanted, chosen.registered.part.config.training_only):
        raise RequestError(
            f"{stage} of {run.root} differs from the recipe in {' and '.join(changed)}",
            f"copy [encoders.{stage}] from {run.recipe_path}",
        )
    return open_part(run, stage, command)
