"""What is traced: a trained run, or a recipe with fresh random weights, to see the shapes before any training."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from muomni_cli.api import Can, Part, RequestError, Tokenizer
from muomni_cli.console import say
from muomni_cli.data.tokenizer import known_tokenizer
from muomni_cli.omni.model import Omni
from muomni_cli.omni.shares import sense_of
from muomni_cli.recipe import ChatSettings, Recipe, load_recipe
from muomni_cli.registry import get_registry, resolve
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry
from muomni_cli.runs.model import OpenModel, find_model
from muomni_cli.runs.parts import build_part, omni_entries
from muomni_cli.training.device import choose_device


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to be traced.

    Args:
        model: its parts, on their device.
        thinker: the Thinker's declaration.
        tokenizer: text to ids; it may know fewer ids than the Thinker.
        chat: how a question is laid out.
    """

    model: OpenModel
    thinker: Part
    tokenizer: Tokenizer
    chat: ChatSettings


def open_run(spec: str | None, device: str) -> Subject:
    """A trained model; see :func:`muomni_cli.runs.model.find_model`.

    Raises:
        RequestError: there is none, or it cannot be opened.
    """
    found = find_model(spec)
    model = found.open(device)
    registered, _ = open_entry((omni_entries(found.run) if found.joint else found.parts)["thinker"])
    say(f"model: {found.label}")
    return Subject(model, registered.part, found.tokenizer(), found.chat)


def open_recipe(name: str, device: str) -> Subject:
    """A recipe's model with fresh random weights, those that its training would begin with.

    Raises:
        RequestError: no such recipe, it has no Thinker, or no tokenizer serves it.
    """
    recipe = load_recipe(name)
    if recipe.thinker is None:
        raise RequestError(f"recipe {recipe.name} has no Thinker", "add a table [thinker], or name another recipe")
    place = choose_device(device)
    tokenizer, size = _tokenizer(recipe)
    say(f"recipe {recipe.name}: fresh random weights (seed {recipe.seed}); the shapes are real, the answer is noise")
    torch.manual_seed(recipe.seed)
    thinker = build_part(recipe.thinker.registered, recipe.thinker.config, {"vocab_size": size})
    encoders = {modality: build_part(c.registered, c.config, {}) for modality, c in recipe.encoders.items()}
    omni = Omni(thinker, encoders)
    omni.reset_projectors()
    omni.eval().requires_grad_(False).to(place)
    senses = {modality: sense_of(c.registered, c.config) for modality, c in recipe.encoders.items()}
    part = recipe.thinker.registered.part
    return Subject(OpenModel(omni.thinker, part.can, senses, omni), part, tokenizer, recipe.chat)


def _tokenizer(recipe: Recipe) -> tuple[Tokenizer, int]:
    """A tokenizer, and the vocabulary that the Thinker is built for.

    The recipe's own, if it needs no training or its run has trained it; else the first that needs none, whose ids lie
    within the vocabulary that the recipe's shall have.
    """
    chosen = recipe.tokenizer
    if chosen is None:
        raise RequestError(f"recipe {recipe.name} names no tokenizer", "add a table [tokenizer]")
    own = known_tokenizer(recipe, RunFolder(RUNS / recipe.name).stage("tokenizer"))
    if own is not None:
        return own, own.vocab_size
    name, fallback = _untrained()
    size = int(getattr(chosen.config, "vocab_size", fallback.vocab_size))
    if fallback.vocab_size > size:
        raise RequestError(
            f"the tokenizer {chosen.use} of recipe {recipe.name} is not trained, and {name} has {fallback.vocab_size} "
            f"ids where the recipe's vocabulary has {size}",
            f"train it: muomni train tokenizer {recipe.source}",
        )
    say(f"the tokenizer {chosen.use} is not trained yet: {name} stands in for it, with {size:,} ids in the Thinker")
    return fallback, size


def _untrained() -> tuple[str, Tokenizer]:
    """The first tokenizer that loses nothing and has nothing to learn."""
    for offer in get_registry().all("tokenizer"):
        part = offer.part
        if part.objective is not None and Can.LOSSLESS in part.can and Can.TRAINABLE not in part.can:
            tokenizer: Tokenizer = resolve(part.objective, f"tokenizer {part.name}")(part.config(), iter(()))
            return offer.use, tokenizer
    raise RequestError("no tokenizer works without training", "train the recipe's: muomni train tokenizer RECIPE")
