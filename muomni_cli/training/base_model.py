"""The pretrained model that a stage starts from: ``train.<stage>.init``, or weights that a part's config names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.models.locate import model_named
from muomni_cli.recipe.model import PartSpec, Recipe
from muomni_cli.recipe.stages import DPO, OMNI
from muomni_cli.recipe.train_settings import OWN_INIT
from muomni_cli.registry.entries import differences, part_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.checkpoint import (
    Checkpoint,
    build_aside,
    load_model,
    load_part,
    omni_entries,
    read_checkpoint,
    weights_of,
)
from muomni_cli.runs.digests import digests_of
from muomni_cli.runs.references import KEY, fill, reference_of
from muomni_cli.runs.run import RunFolder

TOKENIZER = "tokenizer"
THINKER = "thinker"


@dataclass(frozen=True)
class PretrainedModel:
    """A trained model to start from. ``joint``: checkpoint of its omni stage, which holds the Thinker and the encoders;
    None: each part has its own one."""

    name: str
    run: RunFolder
    joint: Path | None

    @cached_property
    def _checkpoint(self) -> Checkpoint | None:
        return None if self.joint is None else read_checkpoint(self.joint)

    def part(self, stage: str, chosen: PartSpec) -> tuple[nn.Module, Path] | None:
        """A part and the checkpoint it is from; None if there is none. RequestError if it differs from the recipe."""
        together = {} if self.joint is None else omni_entries(self.run, self.joint)
        entry = together.get(stage) or self.run.model()["parts"].get(stage)
        if entry is None:
            return None
        self._require_same(stage, entry, chosen)
        if stage not in together or self._checkpoint is None or self.joint is None:
            weights = weights_of(self.run, stage, f"muomni train {stage} {self.run.recipe_path} --run {self.run.name}")
            trained_now = part_entry(
                chosen.registered, chosen.config, entry["weights"]
            )  # with the recipe's augmentation
            return load_part({**entry, **trained_now}, weights), weights
        module = build_aside(chosen.registered, chosen.config, entry)
        if KEY in entry:
            fill(module, entry)
            return module, Path(reference_of(module).folder)  # type: ignore[union-attr]
        prefix = f"{THINKER}." if stage == THINKER else f"encoders.{stage}."
        load_model(module, self._checkpoint, ema=True, prefix=prefix)
        return module, self.joint

    def own_part(self, stage: str, chosen: PartSpec) -> tuple[nn.Module, Path]:
        """As :meth:`part`. RequestError if there is none."""
        if (taken := self.part(stage, chosen)) is None:
            raise RequestError(f"{self.name} has no {stage}", f"name another model in train.{stage}.init")
        return taken

    def fill_projector(self, modality: str, projector: nn.Module) -> None:
        """Load the projector of ``modality``, if the model has a trained one."""
        if self._checkpoint is not None and modality in omni_entries(self.run, self.joint):
            load_model(projector, self._checkpoint, ema=True, prefix=f"projectors.{modality}.")

    def tokenizer(self, recipe: Recipe) -> Tokenizer:
        """Its tokenizer. RequestError if it has none, or it differs from the recipe."""
        if recipe.tokenizer is not None:
            self._require_same(TOKENIZER, self._tokenizer_entry(), recipe.tokenizer)
        return self.run.tokenizer()

    def give_tokenizer(self, recipe: Recipe, run: RunFolder) -> bool:
        """Copy the tokenizer into ``run`` if it has none; whether it did. RequestError if it has a different one."""
        tokenizer = self.tokenizer(recipe)
        if run.status(TOKENIZER) == "finished":
            if digests_of(run.stage(TOKENIZER)) != digests_of(self.run.stage(TOKENIZER)):
                raise RequestError(
                    f"run {run.root} has a different tokenizer than {self.name}, whose Thinker depends on it",
                    "train a new run, which copies the tokenizer: --run NAME",
                )
            return False
        with run.new_stage(TOKENIZER) as folder:
            shutil.copytree(self.run.stage(TOKENIZER), folder, dirs_exist_ok=True)
        entry = {**self._tokenizer_entry(), "weights": TOKENIZER, "vocab_size": tokenizer.vocab_size}
        run.record(TOKENIZER, {"status": "finished"}, entry, recipe.chat.model_dump(mode="json"))
        return True

    def _tokenizer_entry(self) -> dict[str, Any]:
        _, _, entry = self.run.part(TOKENIZER, f"muomni train tokenizer {self.run.recipe_path} --run {self.run.name}")
        return entry

    def _require_same(self, stage: str, held: Mapping[str, Any], chosen: PartSpec) -> None:
        wanted = part_entry(chosen.registered, chosen.config, "")
        changed = differences(held, wanted, chosen.registered.part.config.training_only)
        if changed:
            table = f"encoders.{stage}" if chosen.registered.part.kind == "encoder" else stage
            own = {"use": held["use"], "plugin": held["plugin"], **held["config"]}
            settings = ", ".join(f"{key} = {own[key]}" for key in changed if key in own)
            raise RequestError(
                f"{stage} of {self.name} differs from the recipe in {' and '.join(changed)}",
                f"set in [{table}]: {settings}",
            )


def start_weights(module: nn.Module, stage: str, chosen: PartSpec, init: str) -> tuple[nn.Module, str]:
    """The part of a stage as its training begins, and where its weights are from (empty: random): those of the model
    ``init``, else those that its config names, else ``module`` as it is. RequestError if they do not fit.

    A part that has a method ``start_from`` takes the weights of the other one by it: a Talker, of other voices."""
    base = load_pretrained(init, stage)
    if base is not None:
        taken, path = base.own_part(stage, chosen)
        start_from = getattr(module, "start_from", None)
        if start_from is None:
            return taken, str(path)
        start_from(taken)
        return module, str(path)
    return module, named_weights(module, chosen)


def named_weights(module: nn.Module, chosen: PartSpec) -> str:
    """Load the weights that the part's config names, if it names any; where they are from. RequestError if they do not
    fit."""
    part = chosen.registered.part
    if part.pretrained is None:
        return ""
    return str(resolve(part.pretrained, f"{part.kind} {part.name}")(module, chosen.config))


def load_pretrained(init: str, stage: str = OMNI) -> PretrainedModel | None:
    """The model named by ``train.<stage>.init``; None for ``trained`` and ``random``. RequestError if it is missing."""
    if init in OWN_INIT:
        return None
    try:
        found = model_named(init)
    except RequestError as error:
        what = f"train.{stage}.init: {error.what}"
        raise RequestError(what, f'{error.fix}; or write "trained" or "random"') from error
    run = found.run()
    if found.weights is None:
        return PretrainedModel(init, run, run.tuned(OMNI))
    return PretrainedModel(init, run, found.weights if found.weights.parent.name in (OMNI, DPO) else None)
