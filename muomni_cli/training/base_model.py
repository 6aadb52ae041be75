"""The base model that joint tuning begins with (``train.omni.init``): its Thinker, encoders, projectors and
tokenizer.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.models.locate import model_named
from muomni_cli.recipe.model import OMNI, PartSpec, Recipe
from muomni_cli.recipe.settings import OWN_INIT
from muomni_cli.runs.checkpoint import Checkpoint, build_aside, load_model, omni_entries, open_part, read_checkpoint
from muomni_cli.runs.provenance import fingerprint
from muomni_cli.runs.run import RunFolder, differences, part_entry

TOKENIZER = "tokenizer"

THINKER = "thinker"


@dataclass(frozen=True)
class PretrainedModel:
    """A trained model that another begins with.

    Args:
        name: as the recipe has it.
        run: where its weights are.
        joint: those of its omni stage; None if it has none, and each part has those of its own stage.
    """

    name: str
    run: RunFolder
    joint: Path | None

    @cached_property
    def _checkpoint(self) -> Checkpoint | None:
        return None if self.joint is None else read_checkpoint(self.joint)

    def part(self, stage: str, chosen: PartSpec) -> tuple[nn.Module, Path] | None:
        """The part of this name and where its weights came from; None if the model has no such part.

        Raises:
            RequestError: it is another part than the recipe names, or has other settings.
        """
        entry = omni_entries(self.run).get(stage) if self.joint is not None else self.run.model()["parts"].get(stage)
        if entry is None:
            return None
        self._require_same(stage, entry, chosen)
        if self._checkpoint is None or self.joint is None:
            return open_part(self.run, stage, f"muomni train {stage} {self.run.recipe_path} --run {self.run.name}")
        module = build_aside(chosen.registered, chosen.config, entry)
        prefix = f"{THINKER}." if stage == THINKER else f"encoders.{stage}."
        load_model(module, self._checkpoint, ema=True, prefix=prefix)
        return module, self.joint

    def fill_projector(self, modality: str, projector: nn.Module) -> None:
        """Give a projector the weights that it has there, if it was tuned there."""
        if self._checkpoint is not None and modality in omni_entries(self.run):
            load_model(projector, self._checkpoint, ema=True, prefix=f"projectors.{modality}.")

    def tokenizer(self, recipe: Recipe) -> Tokenizer:
        """Its tokenizer. RequestError if it has none, or the recipe names another."""
        if recipe.tokenizer is not None:
            self._require_same(TOKENIZER, self._tokenizer_entry(), recipe.tokenizer)
        return self.run.tokenizer()

    def give_tokenizer(self, recipe: Recipe, run: RunFolder) -> bool:
        """Copy the tokenizer into ``run``, if that has none; whether it did.

        Raises:
            RequestError: the run has another one, or as of :meth:`tokenizer`.
            MuomniError: the disk is full.
        """
        tokenizer = self.tokenizer(recipe)
        if run.status(TOKENIZER) == "finished":
            if _digests(run.stage(TOKENIZER)) != _digests(self.run.stage(TOKENIZER)):
                raise RequestError(
                    f"run {run.root} has another tokenizer than {self.name}, whose Thinker knows no other",
                    "train a new run, which takes the tokenizer over: --run NAME",
                )
            return False
        folder = run.stage(TOKENIZER)
        beside = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            shutil.copytree(self.run.stage(TOKENIZER), beside)
            shutil.rmtree(folder, ignore_errors=True)
            beside.rename(folder)
        except OSError as error:
            raise MuomniError(f"could not write {folder}: {error.strerror or error}", "free some space") from error
        entry = {**self._tokenizer_entry(), "weights": TOKENIZER, "vocab_size": tokenizer.vocab_size}
        run.record(TOKENIZER, {"status": "finished"}, entry, recipe.chat.model_dump(mode="json"))
        return True

    def _tokenizer_entry(self) -> dict[str, Any]:
        _, _, entry = self.run.part(TOKENIZER, f"muomni train tokenizer {self.run.recipe_path} --run {self.run.name}")
        return entry

    def _require_same(self, stage: str, held: Mapping[str, Any], chosen: PartSpec) -> None:
        """Weights mean nothing with other settings than they were trained with."""
        wanted = part_entry(chosen.registered, chosen.config, "")
        changed = differences(held, wanted, chosen.registered.part.config.training_only)
        if not changed:
            return
        table = stage if stage in (THINKER, TOKENIZER) else f"encoders.{stage}"
        own = {"use": held["use"], "plugin": held["plugin"], **held["config"]}
        settings = ", ".join(f"{key} = {own[key]}" for key in changed if key in own)
        raise RequestError(
            f"{stage} of {self.name} has another {' and '.join(changed)} than the recipe",
            f"write into [{table}] what it has: {settings}",
        )


def load_pretrained(init: str) -> PretrainedModel | None:
    """The model that ``train.omni.init`` names; None where it names none.

    Raises:
        RequestError: there is no such model, or it is a bundle alone.
    """
    if init in OWN_INIT:
        return None
    try:
        found = model_named(init)
    except RequestError as error:
        raise RequestError(f"train.omni.init: {error.what}", f'{error.fix}; or write "trained" or "random"') from error
    run = found.run()
    if found.weights is not None:
        return PretrainedModel(init, run, found.weights if found.weights.parent.name == OMNI else None)
    return PretrainedModel(init, run, run.checkpoint(OMNI))


def _digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): fingerprint(path) for path in folder.rglob("*") if path.is_file()}
