"""The modules of a stage with the weights that they begin with: random, from another model, or from this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from muomni_cli.core.errors import RequestError
from muomni_cli.models.locate import model_named
from muomni_cli.nn.device import total_memory
from muomni_cli.nn.lora import Adapters, add_adapters
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.model import PartSpec, Recipe, is_frozen
from muomni_cli.registry.entries import differences, part_entry
from muomni_cli.runs.checkpoint import (
    build_aside,
    build_part,
    build_without_memory,
    fresh_codec,
    omni_entries,
    open_part,
)
from muomni_cli.runs.references import own_weights, refer
from muomni_cli.training.base_model import PretrainedModel, load_pretrained, named_weights, start_weights
from muomni_cli.training.context import TrainingContext
from muomni_cli.training.optim import scale_of


def build_alone(chosen: PartSpec, arguments: Mapping[str, Any], context: TrainingContext, *, resume: bool) -> nn.Module:
    """The part of a stage that trains one. A part to ``resume`` gets its weights later. RequestError if it does not fit
    into memory, or what it is to begin with does not fit it."""
    _require_memory(chosen, arguments, context.device)
    torch.manual_seed(context.seed)  # what made the arguments may have drawn random numbers
    module: nn.Module = build_part(chosen.registered, chosen.config, arguments)
    if not resume:
        module, source = start_weights(module, context.stage, chosen, context.settings.init)
        if source:
            context.progress(f"{context.stage}: {source}")
    adapt(module, context)
    return module


def borrowed_part(recipe: Recipe, stage: str, chosen: PartSpec) -> tuple[nn.Module, dict[str, Any]]:
    """A part with the weights that its config names, to which it refers, and its ``build`` arguments. RequestError if
    the config names none, or they do not fit."""
    mel = {} if stage != "vocoder" else {"mel": fresh_codec(recipe).mel.model_dump(mode="json")}
    module: nn.Module = build_aside(chosen.registered, chosen.config, mel)
    if not named_weights(module, chosen):
        raise RequestError(
            f"[{stage}] has no weights, and nothing trains {chosen.use}",
            f'name a folder with a checkpoint: {stage}.weights="FOLDER"',
        )
    refer(module, chosen)
    return module, mel


def adapt(module: Any, context: TrainingContext) -> None:
    """Give a part the adapters that the stage trains, if it trains any."""
    if (lora := context.settings.lora) is not None:
        names = add_adapters(module, Adapters(**lora.model_dump()))
        count = sum(p.numel() for p in module.parameters() if p.requires_grad)
        context.progress(f"{len(names)} layers have adapters of {count:,} numbers; other weights stay as they are")


def _require_memory(chosen: PartSpec, entry: Mapping[str, Any], device: torch.device) -> None:
    """RequestError if the part, its gradients and the optimizer's two averages need more memory than there is."""
    shapes = build_without_memory(chosen.registered, chosen.config, entry)
    count = sum(parameter.numel() for parameter in shapes.parameters())
    needed, there = (1 if is_frozen(chosen) else 4) * 4 * count, total_memory(device)
    if needed > there:
        part = chosen.registered.part
        raise RequestError(
            f"the {part.kind} {part.name} has {count:,} parameters: training it takes {needed / 1e9:,.0f} GB, and "
            f"{device} has {there / 1e9:,.0f} GB",
            "make its sizes smaller",
        )


def build_omni(context: TrainingContext, *, resume: bool = False) -> OmniModel:
    """The recipe's omni model with its initial weights. RequestError if a part is untrained and not to be random, or,
    to ``resume``, weights that the run refers to have changed."""
    recipe, settings = context.recipe, context.settings
    if recipe.thinker is None or not recipe.encoders:
        raise RequestError(
            f"recipe {recipe.name} has no {'Thinker' if recipe.thinker is None else 'encoder'}",
            "the omni stage needs a table [thinker] and at least one [encoders.<modality>]",
        )
    by_encoder: Mapping[str, object] = settings.word_dropout if isinstance(settings.word_dropout, dict) else {}
    for key, names in {"init_encoders": settings.init_encoders, "word_dropout": by_encoder}.items():
        for name in names:
            if name not in recipe.encoders:
                note = "; the Thinker needs the run's own tokenizer" if key == "init_encoders" else ""
                raise RequestError(
                    f"train.omni.{key} names {name}, and recipe {recipe.name} has no such encoder",
                    f"name one of {', '.join(recipe.encoders)}{note}",
                )
    wanted = {"thinker": recipe.thinker, **recipe.encoders}
    frozen = _frozen(recipe.encoders, settings.lr_scale)
    base = load_pretrained(settings.init)
    held = omni_entries(context.run) if resume else {}
    parts = {name: _initial_part(name, chosen, context, base, held.get(name)) for name, chosen in wanted.items()}
    thinker = parts.pop("thinker")
    for name in parts.keys() - frozen:
        own_weights(parts[name])
    omni = OmniModel(thinker, parts, frozen)
    omni.reset_projectors()
    adapt(thinker, context)
    if base is not None:
        for modality in recipe.encoders.keys() - settings.init_encoders.keys():
            base.fill_projector(modality, omni.projectors[modality])
    return omni


def _frozen(encoders: Mapping[str, PartSpec], scales: Mapping[str, float]) -> frozenset[str]:
    """The encoders that the stage does not train. RequestError if the recipe says both."""
    for name, chosen in encoders.items():
        if is_frozen(chosen) and (scale := scale_of(f"encoders.{name}", scales, 0.0)):
            raise RequestError(
                f"[encoders.{name}] is frozen, and train.omni.lr_scale gives it a learning rate of {scale:g}",
                f"set encoders.{name}.frozen=false, or leave the rate out",
            )
    return frozenset(n for n, c in encoders.items() if is_frozen(c) or scale_of(f"encoders.{n}", scales) == 0)


def _initial_part(
    stage: str,
    chosen: PartSpec,
    context: TrainingContext,
    base: PretrainedModel | None,
    held: Mapping[str, Any] | None,
) -> Any:
    """One part with its initial weights: from the run in ``init_encoders``, random, from ``init``, or from this run.
    ``held``: its entry in the run that is resumed."""
    settings, recipe = context.settings, context.recipe
    weights: object = "random weights"
    if stage in settings.init_encoders:
        run = model_named(settings.init_encoders[stage]).run()
        command = f"muomni train {stage} {run.recipe_path} --run {run.name}"
        _, _, held = run.part(stage, command)
        wanted = part_entry(chosen.registered, chosen.config, "")
        if changed := differences(held, wanted, chosen.registered.part.config.training_only):
            raise RequestError(
                f"{stage} of {run.root} differs from the recipe in {' and '.join(changed)}",
                f"copy [encoders.{stage}] from {run.recipe_path}",
            )
        part, weights = open_part(run, stage, command)
    elif settings.init == "random" or (context.trial and base is None and context.run.status(stage) == "missing"):
        size = {"vocab_size": context.tokenizer().vocab_size} if stage == "thinker" else {}
        _require_memory(chosen, size, context.device)
        part = build_part(chosen.registered, chosen.config, size)
        weights = named_weights(part, chosen) or weights
        refer(part, chosen, held)
    elif base is not None and (taken := base.part(stage, chosen)):
        part, weights = taken
    elif chosen.registered.part.objective is None:  # no stage of its own: its weights are those that it names
        _require_memory(chosen, {}, context.device)
        part = build_part(chosen.registered, chosen.config, {})
        weights = named_weights(part, chosen)
        if not weights:
            raise RequestError(
                f"[encoders.{stage}] has no weights, and nothing trains {chosen.use} before the stage omni",
                f'name a checkpoint: encoders.{stage}.weights="FOLDER", or start with random ones: '
                'train.omni.init="random"',
            )
        refer(part, chosen, held)
    else:
        command = f'muomni train {stage} {recipe.source}    or start from random weights: train.omni.init="random"'
        part, weights = open_part(context.run, stage, command)
    context.progress(f"{stage}: {weights}")
    return part
