"""What is evaluated of a run: every trained stage of its recipe, on held-out data of its own. Imports torch when it
evaluates, no part by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muomni_cli.api import EncoderPart, MuomniError, RequestError
from muomni_cli.recipe.model import SPEAKING
from muomni_cli.registry import resolve
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry
from muomni_cli.runs.listing import find_run

if TYPE_CHECKING:
    from muomni_cli.evaluation.card import Card
    from muomni_cli.evaluation.speech_cards import SpeechCards
    from muomni_cli.evaluation.subject import Subject
    from muomni_cli.recipe import Recipe

WEIGHTS = ("best.safetensors", "last.safetensors")
VOCODER = "vocoder"


def find_subject(spec: str, model: str | None, overrides: Sequence[str]) -> tuple[RunFolder, Recipe]:
    """The run and the recipe that are meant.

    Args:
        spec: a run's folder or name, or else a recipe; data are those of the recipe.
        model: a run's folder or name, if it is not the recipe's own.
        overrides: changes to the recipe.

    Raises:
        RequestError: no such run or recipe, or the run has nothing in it.
    """
    from muomni_cli.recipe import load_recipe

    is_run = any((root / "model.json").is_file() for root in (Path(spec).expanduser(), RUNS / spec))
    if is_run:
        named = find_run(spec)
        if not named.recipe_path.is_file():
            raise RequestError(f"run {named.root} has no recipe.toml", "name the recipe, and the run with -m")
        recipe = load_recipe(str(named.recipe_path), overrides)
        run = find_run(model) if model else named
    else:
        recipe = load_recipe(spec, overrides)
        run = find_run(model or recipe.name)
    return run, with_parts_of(run, recipe)


def with_parts_of(run: RunFolder, recipe: Recipe) -> Recipe:
    """The recipe's data, with the parts that the run has trained: what is asked is what was trained."""
    from muomni_cli.recipe import Chosen

    entries = {**run.model()["parts"], **run.model()["stages"].get("omni", {}).get("parts", {})}
    opened = {stage: open_entry(entry) for stage, entry in entries.items()}
    own = {stage: Chosen(registered.part.name, registered, config) for stage, (registered, config) in opened.items()}
    parts = {slot: own.get(slot, chosen) for slot, chosen in recipe.parts.items()}
    encoders = {modality: own.get(modality, chosen) for modality, chosen in recipe.encoders.items()}
    return dataclasses.replace(recipe, parts=parts, encoders=encoders)


def evaluate(
    run: RunFolder,
    recipe: Recipe,
    *,
    split: Literal["train", "val"],
    limit: int | None,
    device: str,
    progress: Callable[[str], None],
) -> Iterator[Card]:
    """Cards of every stage that is trained and can be scored, each as soon as it is known.

    Raises:
        RequestError: there is none, or the data are not there.
    """
    from muomni_cli.evaluation.subject import Subject
    from muomni_cli.training.device import choose_device

    subject = Subject(run, recipe, split, limit, choose_device(device), progress)
    speech = cache(lambda: _speech(subject))
    left_out: list[str] = []
    scored = False
    for stage in _stages(recipe):
        reason = _unscored(run, recipe, stage)
        if reason:
            left_out.append(f"{stage} {reason}")
            continue
        progress(f"evaluating {stage} of {run.root}")
        for card in speech().of(stage) if stage in SPEAKING else _cards(subject, stage):
            scored = True
            yield card
    if not scored:
        raise RequestError(
            f"nothing of run {run.root} can be evaluated: {'; '.join(left_out) or 'no examples on this side'}",
            f"train a stage that has data: muomni train STAGE {recipe.source}",
        )
    for line in left_out:
        progress(f"left out: {line}")


def _stages(recipe: Recipe) -> list[str]:
    from muomni_cli.training.stages import stages_of

    found = [stage for stage in stages_of(recipe) if stage != "tokenizer"]
    # A vocoder that needs no training has no stage, but can be heard as well.
    return [*found, VOCODER] if recipe.vocoder and VOCODER not in found and recipe.codec else found


def _speech(subject: Subject) -> SpeechCards:
    from muomni_cli.evaluation.speech_cards import SpeechCards

    return SpeechCards(subject)


def _unscored(run: RunFolder, recipe: Recipe, stage: str) -> str:
    """Why a stage has no cards; empty if it has."""
    ready = stage == VOCODER and recipe.vocoder is not None and recipe.vocoder.registered.part.objective is None
    if not ready and not any((run.stage(stage) / name).is_file() for name in WEIGHTS):
        return "is not trained"
    if not recipe.data.sources.get(recipe.table_of(stage)):
        return "has no data in the recipe"
    if stage in recipe.encoders:
        part = recipe.encoders[stage].registered.part
        if isinstance(part, EncoderPart) and part.answer is None:
            return f"({part.name}) gives no answers that could be scored"
    return ""


def _cards(subject: Subject, stage: str) -> Iterator[Card]:
    if stage == "omni":
        from muomni_cli.evaluation.dialogues import dialogue_cards

        yield from dialogue_cards(subject)
    elif stage == "thinker":
        yield text_card(subject)
    elif stage in subject.recipe.encoders:
        from muomni_cli.evaluation.answers import answer_cards

        yield from answer_cards(subject, stage)


def text_card(subject: Subject) -> Card:
    """Bits a byte of held-out text, as the Thinker's own objective measures them on all of it, or on ``limit`` windows.

    Raises:
        MuomniError: the objective measures something else.
    """
    from muomni_cli.evaluation.card import Card
    from muomni_cli.runs.parts import open_part
    from muomni_cli.training.context import StageContext

    stage, recipe = "thinker", subject.recipe
    module, _ = open_part(subject.run, stage, f"muomni train {stage} {recipe.source}")
    settings = recipe.train_for(stage)
    batches = -(-(subject.limit or 0) // settings.batch_size)
    context = StageContext(
        recipe,
        stage,
        settings.model_copy(update={"val_batches": batches}),
        recipe.seed,
        subject.device,
        subject.run,
        subject.progress,
    )
    part = recipe.parts[stage].registered.part
    assert part.objective is not None, "a stage of its own has an objective"
    objective = resolve(part.objective, f"{part.kind} {part.name}")(module.to(subject.device).eval(), context)
    found = objective.validate()
    metric = "bits_per_byte" if "bits_per_byte" in found else "loss"
    if metric not in found:
        raise MuomniError(f"the Thinker {part.name} measures no loss", "report it to who made its objective")
    return Card(stage, "text", metric, float(found[metric]))
