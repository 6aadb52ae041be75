"""What is evaluated of a model: every stage of a recipe that it has trained, on held-out data. Imports torch for a run
alone, and no part by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muomni_cli.api import ENCODERS, RequestError
from muomni_cli.data.sets import get_command, missing_sets
from muomni_cli.evaluation.at_hand import with_examples, with_files
from muomni_cli.evaluation.model import VOCODER, missing, with_parts_of
from muomni_cli.models.engines import TRAINED, open_found
from muomni_cli.models.find import Found, find, in_folder, named, of_package
from muomni_cli.recipe.stages import OMNI, stages_of
from muomni_cli.registry import get_registry, resolve

if TYPE_CHECKING:
    from muomni_cli.contract.engine import Engine
    from muomni_cli.evaluation.card import Card
    from muomni_cli.evaluation.subject import Subject
    from muomni_cli.recipe import Recipe


def find_subject(spec: str | None, model: str | None, overrides: Sequence[str]) -> tuple[Found, Recipe]:
    """The model and the recipe that are meant.

    Args:
        spec: a run's folder or name, or else a recipe, or else an installed model; data are those of the recipe, which
            a run has with it. None for the model's own.
        model: as of :func:`muomni_cli.models.find.named`, if it is not the recipe's own run.
        overrides: changes to the recipe.

    Raises:
        RequestError: no such model or recipe, or a model without data.
    """
    from muomni_cli.recipe import load_recipe

    if spec is None:
        meant = find(model, TRAINED)
        recipe = load_recipe(str(_recipe_of(model or "the model", meant)), overrides)
        return meant, recipe
    told = _told(spec)
    recipe = load_recipe(spec if told is None else str(_recipe_of(spec, told)), overrides)
    if model is not None:
        told = named(model)
    elif told is None:
        told = named(recipe.name, train=f"muomni train all {spec}")
    return told, recipe


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
        stages: those that are asked; all if none is named.
    """

    split: Literal["train", "val"] = "val"
    limit: int | None = None
    device: str = "auto"
    threads: int | None = None
    stages: Sequence[str] = ()


def evaluate(found: Found, recipe: Recipe, asking: Asking, progress: Callable[[str], None]) -> Iterator[Card]:
    """Cards of every stage that is trained and can be scored, each as soon as it is known.

    Raises:
        RequestError: there is none, or the data are not there.
    """
    from muomni_cli.evaluation.subject import Subject

    no_files = missing_sets(recipe, _tables(recipe, asking))
    recipe, left_out = with_files(recipe)
    model, recipe = _open(found, recipe, asking)
    subject = Subject(model, recipe, asking.split, asking.limit, progress)
    absent = "is not in it" if found.bundle is not None else "is not trained"
    scored = False
    for stage in _stages(recipe):
        reason = missing(model, recipe, stage, absent) or ("" if _has_data(recipe, stage) else "has no data")
        if reason or (asking.stages and stage not in asking.stages):
            left_out += [f"{stage} {reason}"] if reason else []
            continue
        progress(f"evaluating {stage} of {model.label}")
        for made in _sets(recipe, stage):
            for card in _as_far_as_it_goes(made, subject, stage, left_out):
                scored = True
                yield card
    if not scored:
        raise RequestError(
            f"nothing of {model.label} can be evaluated: {'; '.join(left_out) or 'no examples on this side'}",
            get_command(no_files)
            if no_files
            else f"train a stage that has data: muomni train STAGE {recipe.source}",
        )
    for line in left_out:
        progress(f"left out: {line}")
    if no_files:
        progress(f"public datasets are missing; get them with: {get_command(no_files)}")


def _tables(recipe: Recipe, asking: Asking) -> list[str]:
    """The lists of sources that the stages in question are measured on."""
    return list(dict.fromkeys(recipe.table_of(stage) for stage in asking.stages or _stages(recipe)))


def _as_far_as_it_goes(
    made: Callable[[Subject, str], Iterator[Card]], subject: Subject, stage: str, left_out: list[str]
) -> Iterator[Card]:
    """Cards of one set; where sources turn out not to be readable, those of the others."""
    begun = False
    try:
        for card in made(subject, stage):
            begun = True
            yield card
    except RequestError as error:
        recipe, lost = with_examples(subject.recipe, subject.recipe.table_of(stage))
        if begun or not lost or not _has_data(recipe, stage):
            left_out.append(f"{stage}: {error.what} ({error.fix})")
            return
        left_out += lost
        yield from _as_far_as_it_goes(made, dataclasses.replace(subject, recipe=recipe), stage, left_out)


def _open(found: Found, recipe: Recipe, asking: Asking) -> tuple[Engine, Recipe]:
    """The model, and the recipe's data with the model's parts."""
    engine = open_found(found, device=asking.device, threads=asking.threads)
    if OMNI in engine.thinker_stages:
        engine = engine.at(OMNI)
    return engine, with_parts_of(engine, recipe)


def _stages(recipe: Recipe) -> list[str]:
    found = [stage for stage in stages_of(recipe) if stage != "tokenizer"]
    # A vocoder that needs no training has no stage, but can be heard as well.
    return [*found, VOCODER] if recipe.vocoder and VOCODER not in found and recipe.codec else found


def _has_data(recipe: Recipe, stage: str) -> bool:
    return bool(recipe.data.sources.get(recipe.table_of(stage)))


def _sets(recipe: Recipe, stage: str) -> Iterator[Callable[[Subject, str], Iterator[Card]]]:
    """What makes cards of a stage: built in, and of plugins."""
    own = {stage, ENCODERS} if stage in recipe.encoders else {stage}
    for offer in get_registry().cards():
        if own & set(offer.part.stages):
            yield resolve(offer.part.make, f"cards {offer.part.name}")
