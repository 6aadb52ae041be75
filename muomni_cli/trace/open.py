"""What is traced: a trained run, or a recipe with fresh random weights, to see the shapes before any training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from muomni_cli.contract.declarations import Can, Part
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.data.shares import sense_of
from muomni_cli.data.tokenizer import known_tokenizer
from muomni_cli.evaluation.run import find_model
from muomni_cli.layers.device import choose_device
from muomni_cli.models.open import OpenModel
from muomni_cli.omni.model import Omni
from muomni_cli.recipe import ChatSettings, Recipe, load_recipe
from muomni_cli.registry.registry import Registered, get_registry, resolve
from muomni_cli.runs.arguments import code_shape
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry, part_entry
from muomni_cli.runs.parts import build_part, omni_entries
from muomni_cli.speaking.open import find_speaking, open_parts
from muomni_cli.speaking.parts import SpeakingParts

TOKENIZER = "tokenizer"
"""The folder of a run in which its tokenizer lies."""


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
    """A trained model; see :func:`muomni_cli.models.open.find_model`.

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
    tokenizer, _, size = tokenizer_for(recipe)
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


def tokenizer_for(recipe: Recipe) -> tuple[Tokenizer, dict[str, Any], int]:
    """A tokenizer, what ``model.json`` would say of it, and the vocabulary that the Thinker is built for.

    The recipe's own, if it needs no training or its run has trained it; else the first that needs none, whose ids lie
    within the vocabulary that the recipe's shall have.
    """
    chosen = recipe.tokenizer
    if chosen is None:
        raise RequestError(f"recipe {recipe.name} names no tokenizer", "add a table [tokenizer]")
    own = known_tokenizer(recipe, RunFolder(RUNS / recipe.name).stage("tokenizer"))
    if own is not None:
        return own, part_entry(chosen.registered, chosen.config, TOKENIZER), own.vocab_size
    registered, fallback = _untrained()
    size = int(getattr(chosen.config, "vocab_size", fallback.vocab_size))
    if fallback.vocab_size > size:
        raise RequestError(
            f"the tokenizer {chosen.use} of recipe {recipe.name} is not trained, and {registered.use} has "
            f"{fallback.vocab_size} ids where the recipe's vocabulary has {size}",
            f"train it: muomni train tokenizer {recipe.source}",
        )
    name = registered.use
    say(f"the tokenizer {chosen.use} is not trained yet: {name} stands in for it, with {size:,} ids in the Thinker")
    return fallback, part_entry(registered, registered.part.config(), TOKENIZER), size


def _untrained() -> tuple[Registered, Tokenizer]:
    """The first tokenizer that loses nothing and has nothing to learn."""
    for offer in get_registry().all("tokenizer"):
        part = offer.part
        if part.objective is not None and Can.LOSSLESS in part.can and Can.TRAINABLE not in part.can:
            tokenizer: Tokenizer = resolve(part.objective, f"tokenizer {part.name}")(part.config(), iter(()))
            return offer, tokenizer
    raise RequestError("no tokenizer works without training", "train the recipe's: muomni train tokenizer RECIPE")


@dataclass(frozen=True, slots=True)
class Mouth:
    """What speaks, to be traced.

    Args:
        parts: Talker, codec and vocoder on their device.
        talker, codec, vocoder: their declarations.
        tokenizer: what counts the tokens of a text; None where the model has none.
        thinks: the model has a Thinker as well.
    """

    parts: SpeakingParts
    talker: Part
    codec: Part
    vocoder: Part
    tokenizer: Tokenizer | None
    thinks: bool


def open_run_mouth(spec: str | None, device: str) -> Mouth:
    """What speaks of a trained model; see :func:`muomni_cli.speaking.open.find_speaking`.

    Raises:
        RequestError: there is none, or it cannot be opened.
    """
    speaking = find_speaking(spec)
    parts = speaking.run.model()["parts"]
    opened = open_parts(speaking, device)
    say(f"voice: {opened.label}, vocoder {opened.vocoder_name}")
    talker, codec = (open_entry(parts[stage])[0].part for stage in ("talker", "codec"))
    tokenizer = speaking.run.tokenizer() if speaking.run.status("tokenizer") == "finished" else None
    return Mouth(opened, talker, codec, speaking.vocoder.part, tokenizer, "thinker" in parts)


def open_recipe_mouth(name: str, device: str) -> Mouth:
    """What speaks of a recipe, with fresh random weights.

    Raises:
        RequestError: no such recipe, or a part that speaks is missing.
    """
    recipe = load_recipe(name)
    talker, codec, vocoder = recipe.talker, recipe.codec, recipe.vocoder
    if talker is None or codec is None or vocoder is None:
        lacking = "Talker" if talker is None else "codec" if codec is None else "vocoder"
        raise RequestError(f"recipe {recipe.name} has no {lacking}, so it does not speak", "leave --speech out")
    torch.manual_seed(recipe.seed)
    place = choose_device(device)
    coding = build_part(codec.registered, codec.config, {})
    width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
    told = {"codes": asdict(code_shape(coding)), "voices": [""], "thinker_width": width}
    talking = build_part(talker.registered, talker.config, told)
    sounding = build_part(vocoder.registered, vocoder.config, {"mel": coding.mel.model_dump(mode="json")})
    ready = [one.eval().requires_grad_(False).to(place) for one in (talking, coding, sounding)]
    opened = SpeakingParts(ready[0], ready[1], ready[2], f"recipe {recipe.name}", vocoder.use)
    tokenizer = tokenizer_for(recipe)[0] if recipe.tokenizer is not None else None
    parts = [one.registered.part for one in (talker, codec, vocoder)]
    return Mouth(opened, parts[0], parts[1], parts[2], tokenizer, recipe.thinker is not None)
