"""What is evaluated of a model: every stage of a recipe that it has trained, on held-out data. Imports torch for a run
alone, and no part by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from muomni_cli.api import RequestError
from muomni_cli.models.find import Found, in_folder, named, of_package
from muomni_cli.packed import PackedFolder
from muomni_cli.recipe.model import SPEAKING
from muomni_cli.recipe.stages import OMNI, stages_of
from muomni_cli.runs.folder import RunFolder, open_entry

if TYPE_CHECKING:
    from muomni_cli.evaluation.card import Card
    from muomni_cli.evaluation.examined import Examined
    from muomni_cli.evaluation.speech_cards import SpeechCards
    from muomni_cli.evaluation.subject import Subject
    from muomni_cli.recipe import Recipe

VOCODER = "vocoder"
Folder = RunFolder | PackedFolder


def find_subject(spec: str, model: str | None, overrides: Sequence[str]) -> tuple[Folder, Recipe]:
    """The model and the recipe that are meant.

    Args:
        spec: a run's folder or name, or else a recipe, or else an installed model; data are those of the recipe, which
            a run has with it.
        model: as of :func:`muomni_cli.models.find.named`, if it is not the recipe's own run.
        overrides: changes to the recipe.

    Raises:
        RequestError: no such model or recipe, or a model without data.
    """
    from muomni_cli.recipe import load_recipe

    told = _told(spec)
    recipe = load_recipe(spec if told is None else str(_recipe_of(spec, told)), overrides)
    if model is not None:
        told = named(model)
    elif told is None:
        told = named(recipe.name, train=f"muomni train all {spec}")
    return told.bundle or told.run(), recipe


def _told(spec: str) -> Found | None:
    """The model that ``spec`` names, if it is no recipe."""
    from muomni_cli.recipe.shipped import shipped_recipes

    found = in_folder(spec)
    if found or Path(spec).expanduser().is_file() or spec in {recipe.name for recipe in shipped_recipes()}:
        return found
    return of_package(spec)


def _recipe_of(spec: str, told: Found) -> Path:
    if told.folder is None:
        raise RequestError(f"{spec} does not say which data it learned from", "name the recipe, and the model with -m")
    recipe = told.run().recipe_path
    if not recipe.is_file():
        raise RequestError(f"run {told.folder.root} has no recipe.toml", "name the recipe, and the run with -m")
    return recipe


@dataclasses.dataclass(frozen=True, slots=True)
class Asking:
    """How a model is asked.

    Args:
        split: which side of the data.
        limit: most examples of each source; 0 for all, None for as many as are usual.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: of the CPU.
    """

    split: Literal["train", "val"] = "val"
    limit: int | None = None
    device: str = "auto"
    threads: int | None = None


def evaluate(folder: Folder, recipe: Recipe, asking: Asking, progress: Callable[[str], None]) -> Iterator[Card]:
    """Cards of every stage that is trained and can be scored, each as soon as it is known.

    Raises:
        RequestError: there is none, or the data are not there.
    """
    from muomni_cli.evaluation.subject import Subject

    model, recipe = _open(folder, recipe, asking, progress)
    subject = Subject(model, recipe, asking.split, asking.limit, progress)
    speech = cache(lambda: _speech(subject))
    left_out: list[str] = []
    scored = False
    for stage in _stages(recipe):
        reason = model.missing(stage) or ("" if _has_data(recipe, stage) else "has no data in the recipe")
        if reason:
            left_out.append(f"{stage} {reason}")
            continue
        progress(f"evaluating {stage} of {model.label}")
        for card in speech().of(stage) if stage in SPEAKING else _cards(subject, stage):
            scored = True
            yield card
    if not scored:
        raise RequestError(
            f"nothing of {model.label} can be evaluated: {'; '.join(left_out) or 'no examples on this side'}",
            f"train a stage that has data: muomni train STAGE {recipe.source}",
        )
    for line in left_out:
        progress(f"left out: {line}")


def _open(folder: Folder, recipe: Recipe, asking: Asking, progress: Callable[[str], None]) -> tuple[Examined, Recipe]:
    """The model, and the recipe's data with the model's parts."""
    if isinstance(folder, PackedFolder):
        from muomni_cli.evaluation.packed import PackedModel

        packed = folder.open(asking.device, asking.threads)
        recipe = with_parts(recipe, packed.parts)
        return PackedModel(packed, recipe, progress), recipe
    from muomni_cli.evaluation.trained import TrainedModel
    from muomni_cli.training.device import choose_device, set_threads

    set_threads(asking.threads or 0)
    about = folder.model()
    recipe = with_parts(recipe, {**about["parts"], **about["stages"].get(OMNI, {}).get("parts", {})})
    return TrainedModel(folder, recipe, choose_device(asking.device), progress), recipe


def with_parts(recipe: Recipe, entries: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """The recipe's data, with the parts that a model has trained: what is asked is what was trained.

    Args:
        recipe: names the data.
        entries: what ``model.json`` says of each part, by its stage.
    """
    from muomni_cli.recipe import Chosen

    opened = {stage: open_entry(entry) for stage, entry in entries.items()}
    own = {stage: Chosen(registered.part.name, registered, config) for stage, (registered, config) in opened.items()}
    parts = {slot: own.get(slot, chosen) for slot, chosen in recipe.parts.items()}
    encoders = {modality: own.get(modality, chosen) for modality, chosen in recipe.encoders.items()}
    return dataclasses.replace(recipe, parts=parts, encoders=encoders)


def _stages(recipe: Recipe) -> list[str]:
    found = [stage for stage in stages_of(recipe) if stage != "tokenizer"]
    # A vocoder that needs no training has no stage, but can be heard as well.
    return [*found, VOCODER] if recipe.vocoder and VOCODER not in found and recipe.codec else found


def _has_data(recipe: Recipe, stage: str) -> bool:
    return bool(recipe.data.sources.get(recipe.table_of(stage)))


def _speech(subject: Subject) -> SpeechCards:
    from muomni_cli.evaluation.speech_cards import SpeechCards

    return SpeechCards(subject)


def _cards(subject: Subject, stage: str) -> Iterator[Card]:
    from muomni_cli.evaluation.text import text_card

    if stage in subject.recipe.encoders:
        from muomni_cli.evaluation.answers import answer_cards

        yield from answer_cards(subject, stage)
        return
    if stage == OMNI:
        from muomni_cli.evaluation.dialogues import dialogue_cards

        yield from dialogue_cards(subject)
    if _has_data(subject.recipe, "thinker"):
        yield text_card(subject, stage)
