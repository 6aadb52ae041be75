"""An inference engine with random weights, for a recipe or a bundle's parts: real shapes and speed, random answers.
Imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import nn

from muomni_cli.contract.codecs import code_shape, is_waveform
from muomni_cli.contract.declarations import Capability
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import RUNS
from muomni_cli.data.text import known_tokenizer
from muomni_cli.models.torch_engine import TorchEngine
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.entries import open_entry, part_entry
from muomni_cli.registry.registry import RegisteredPart, get_registry, resolve
from muomni_cli.runs.checkpoint import build_part, fresh_codec
from muomni_cli.runs.run import RunFolder

TOKENIZER = "tokenizer"  # a run's tokenizer folder
SPEECH = ("codec", "talker", "vocoder")


class UntrainedEngine(TorchEngine):
    """An :class:`muomni_cli.contract.engine.Engine` with random weights; ``parts``: entries of ``model.json``."""

    def __init__(
        self,
        parts: Mapping[str, Mapping[str, Any]],
        modalities: Sequence[str],
        label: str,
        *,
        chat: Mapping[str, Any] | None = None,
        tokenizer: Tokenizer | None = None,
        seed: int = 0,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__(label, device, threads)
        self._parts, self._modalities = parts, modalities
        self.chat, self._tokenizer, self._seed = chat or {}, tokenizer, seed

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        return self._parts

    @property
    def modalities(self) -> Sequence[str]:
        return self._modalities

    def tokenizer(self) -> Tokenizer:
        if self._tokenizer is None:
            raise RequestError(f"{self.label} has no tokenizer", "add a table [tokenizer], or name another recipe")
        return self._tokenizer

    def _open_omni(self) -> OmniModel:
        if "thinker" not in self._parts:
            raise RequestError(f"{self.label} has no Thinker", "add a table [thinker], or name another recipe")
        torch.manual_seed(self._seed)
        thinker = self._build("thinker")
        omni = OmniModel(thinker, {modality: self._build(modality) for modality in self._modalities})
        omni.reset_projectors()
        return omni

    def _open_speech(self, part: str) -> nn.Module:
        name = part if part in SPEECH else "vocoder"
        if name not in self._parts:
            called = "Talker with a codec" if name == "talker" else name
            raise RequestError(f"{self.label} has no {called}, so it cannot speak", "leave --speech out")
        torch.manual_seed(self._seed)
        return cast("nn.Module", self._build(name))

    def _build(self, part: str) -> Any:
        entry = self._parts[part]
        return build_part(*open_entry(entry), entry)


def recipe_engine(
    name: str, overrides: Sequence[str] = (), *, device: str = "auto", threads: int | None = None
) -> UntrainedEngine:
    """Every part of a recipe with random weights. RequestError if the recipe is invalid, or there is no suitable
    tokenizer."""
    recipe = load_recipe(name, overrides)
    parts: dict[str, Mapping[str, Any]] = {}
    tokenizer = None
    if recipe.thinker is not None:
        tokenizer, _, size = tokenizer_for(recipe)
        parts["thinker"] = part_entry(recipe.thinker.registered, recipe.thinker.config, "", vocab_size=size)
    for modality, chosen in recipe.encoders.items():
        parts[modality] = part_entry(chosen.registered, chosen.config, "")
    if recipe.codec is not None:
        parts["codec"] = part_entry(recipe.codec.registered, recipe.codec.config, "")
        codec = fresh_codec(recipe)
        width = 0 if recipe.thinker is None else int(recipe.thinker.config.d_model)  # type: ignore[attr-defined]
        more: dict[str, dict[str, Any]] = {
            "talker": {"codes": asdict(code_shape(codec)), "voices": [""], "thinker_width": width}
        }
        if not is_waveform(codec):
            more["vocoder"] = {"mel": codec.mel.model_dump(mode="json")}
        for part, chosen in ((part, recipe.parts[part]) for part in more if part in recipe.parts):
            parts[part] = part_entry(chosen.registered, chosen.config, "", **more[part])
    modalities = list(recipe.encoders) if recipe.thinker is not None else []
    return UntrainedEngine(
        parts,
        modalities,
        f"recipe {recipe.name}",
        chat=recipe.chat.model_dump(mode="json"),
        tokenizer=tokenizer,
        seed=recipe.seed,
        device=device,
        threads=threads,
    )


def tokenizer_for(recipe: Recipe) -> tuple[Tokenizer, dict[str, Any], int]:
    """A tokenizer, its entry of ``model.json``, and the Thinker's vocabulary size: the recipe's own if it is trained or
    needs no training, else the first that needs none and fits the recipe's vocabulary."""
    chosen = recipe.tokenizer
    if chosen is None:
        raise RequestError(f"recipe {recipe.name} names no tokenizer", "add a table [tokenizer]")
    own = known_tokenizer(recipe, RunFolder(RUNS / recipe.name).tokenizer_folder())
    if own is not None:
        return own, part_entry(chosen.registered, chosen.config, TOKENIZER), own.vocab_size
    registered, fallback = _untrained_tokenizer()
    size = int(getattr(chosen.config, "vocab_size", fallback.vocab_size))
    if fallback.vocab_size > size:
        raise RequestError(
            f"the tokenizer {chosen.use} of recipe {recipe.name} is not trained, and {registered.use} has "
            f"{fallback.vocab_size} ids where the recipe's vocabulary has {size}",
            f"train it: muomni train tokenizer {recipe.source}",
        )
    say(f"the tokenizer {chosen.use} is not trained yet: using {registered.use}, with {size:,} ids in the Thinker")
    return fallback, part_entry(registered, registered.part.config(), TOKENIZER), size


def _untrained_tokenizer() -> tuple[RegisteredPart, Tokenizer]:
    """The first lossless tokenizer that needs no training."""
    for registered in get_registry().all("tokenizer"):
        part, able = registered.part, registered.part.capabilities
        if part.objective is not None and Capability.LOSSLESS in able and Capability.TRAINABLE not in able:
            return registered, resolve(part.objective, f"tokenizer {part.name}")(part.config(), iter(()))
    raise RequestError("no tokenizer works without training", "train the recipe's: muomni train tokenizer RECIPE")
