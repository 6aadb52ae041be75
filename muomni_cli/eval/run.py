"""``muomni eval``: resolve a model and a recipe, and compute the metrics of every stage on held-out data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from muomni_cli.contract.metrics import ENCODERS
from muomni_cli.core.errors import RequestError
from muomni_cli.data.public_datasets import missing_sets
from muomni_cli.eval.model import VOCODER, EvalContext, missing, with_parts_of
from muomni_cli.models.engines import ANY_TRAINED, open_found
from muomni_cli.models.locate import ModelRef, model_in_folder, model_named, model_of_package, resolve_model
from muomni_cli.recipe.model import stages_of
from muomni_cli.recipe.stages import OMNI
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.registry.sets import get_command

if TYPE_CHECKING:
    from muomni_cli.contract.data import Dataset
    from muomni_cli.contract.metrics import MetricResult
    from muomni_cli.recipe.model import Recipe, SourceSpec

Metrics = Callable[[EvalContext, str], Iterator["MetricResult"]]
"""What a plugin registers: context and stage -> metrics."""


@dataclasses.dataclass(frozen=True, slots=True)
class EvalOptions:
    """How to evaluate."""

    split: Literal["train", "val"] = "val"  # side of the data
    limit: int | None = None  # most examples per source; 0 for all, None for the default
    device: str = "auto"
    threads: int | None = None
    stages: Sequence[str] = ()  # only these stages; all if empty


def find_model(spec: str | None, model: str | None, overrides: Sequence[str]) -> tuple[ModelRef, Recipe]:
    """The model to evaluate, and the recipe that names its data.

    Args:
        spec: a run, a recipe or an installed model; the data are those of the recipe, which a run contains. None for
            the model's own.
        model: as for :func:`muomni_cli.models.locate.model_named`, if it is not the recipe's own run.
        overrides: changes to the recipe.

    Raises:
        RequestError: no such model or recipe, or a model without a recipe.
    """
    from muomni_cli.recipe.load import load_recipe, shipped_recipes

    if spec is None:
        found = resolve_model(model, ANY_TRAINED)
        return found, load_recipe(str(_recipe_of(model or "the model", found)), overrides)
    named = model_in_folder(spec)
    if not named and not Path(spec).expanduser().is_file() and spec not in {one.name for one in shipped_recipes()}:
        named = model_of_package(spec)
    recipe = load_recipe(spec if named is None else str(_recipe_of(spec, named)), overrides)
    if model is not None:
        return model_named(model), recipe
    return named or model_named(recipe.name, train=f"muomni train all {spec}"), recipe


def _recipe_of(spec: str, found: ModelRef) -> Path:
    if found.folder is None:
        raise RequestError(f"{spec} has no recipe.toml", "name the recipe, and the model with -m")
    recipe = found.run().recipe_path
    if not recipe.is_file():
        raise RequestError(f"run {found.folder.root} has no recipe.toml", "name the recipe, and the run with -m")
    return recipe


def evaluate(
    found: ModelRef, recipe: Recipe, options: EvalOptions, progress: Callable[[str], None]
) -> Iterator[MetricResult]:
    """Metrics of every stage that the model has and the recipe has data for, each as soon as it is computed.

    Raises:
        RequestError: there are none.
    """
    no_files = missing_sets(recipe, [recipe.table_of(stage) for stage in options.stages or _stages(recipe)])
    recipe, left_out = _usable(recipe, [*recipe.data.sources], lambda dataset: dataset.files())
    engine = open_found(found, device=options.device, threads=options.threads)
    if OMNI in engine.thinker_stages:
        engine = engine.at(OMNI)
    recipe = with_parts_of(engine, recipe)
    context = EvalContext(engine, recipe, options.split, options.limit, progress)
    absent = "is not in it" if found.bundle is not None else "is not trained"
    owners: dict[tuple[str, str, str], str] = {}  # stage, task and metric -> the plugin that computed it first
    for stage in _stages(recipe):
        reason = missing(engine, recipe, stage, absent) or ("" if _has_data(recipe, stage) else "has no data")
        if reason or (options.stages and stage not in options.stages):
            left_out += [f"{stage} {reason}"] if reason else []
            continue
        progress(f"evaluating {stage} of {engine.label}")
        names = {stage, ENCODERS} if stage in recipe.encoders else {stage}
        for registered in get_registry().metric_sets():
            if names.isdisjoint(registered.part.stages):
                continue
            make = resolve(registered.part.make, f"metrics {registered.part.name}")
            for metric in _of_readable_sources(make, context, stage, left_out):
                plugin = registered.plugin.name
                first = owners.setdefault((metric.stage, metric.task, metric.metric), plugin) == plugin
                yield metric if first else dataclasses.replace(metric, metric=f"{plugin}:{metric.metric}")
    if not owners:
        raise RequestError(
            f"nothing of {engine.label} can be evaluated: {'; '.join(left_out) or 'no examples on this side'}",
            get_command(no_files) if no_files else f"train a stage that has data: muomni train STAGE {recipe.source}",
        )
    for line in left_out:
        progress(f"left out: {line}")
    if no_files:
        progress(f"public datasets are missing; get them with: {get_command(no_files)}")


def _of_readable_sources(
    make: Metrics, context: EvalContext, stage: str, left_out: list[str]
) -> Iterator[MetricResult]:
    """The metrics of a stage; if a source cannot be read, those of its other sources."""
    begun = False
    try:
        for metric in make(context, stage):
            begun = True
            yield metric
    except RequestError as error:
        # Whether the first item can be read or made; that may need a program that is not installed, for example.
        table = context.recipe.table_of(stage)
        recipe, lost = _usable(context.recipe, [table], lambda dataset: next(iter(dataset.documents()), None))
        if begun or not lost or not _has_data(recipe, stage):
            left_out.append(f"{stage}: {error.what} ({error.fix})")
            return
        left_out += lost
        yield from _of_readable_sources(make, dataclasses.replace(context, recipe=recipe), stage, left_out)


def _stages(recipe: Recipe) -> list[str]:
    found = [stage for stage in stages_of(recipe) if stage != "tokenizer"]
    # A vocoder that needs no training has no stage, but can be evaluated.
    return [*found, VOCODER] if recipe.vocoder and VOCODER not in found and recipe.codec else found


def _has_data(recipe: Recipe, stage: str) -> bool:
    return bool(recipe.data.sources.get(recipe.table_of(stage)))


def _usable(recipe: Recipe, tables: Sequence[str], attempt: Callable[[Dataset], object]) -> tuple[Recipe, list[str]]:
    """The recipe without the sources of ``tables`` for which ``attempt`` fails, and one line for each of those."""
    lost: list[str] = []

    def works(table: str, source: SourceSpec) -> bool:
        dataset: Dataset = resolve(source.registered.part.build, f"dataset {source.use}")(source.config)
        try:
            attempt(dataset)
        except RequestError as error:
            lost.append(f"{source.task or source.use} of [[data.{table}]]: {error.what}")
            return False
        return True

    sources = dict(recipe.data.sources)
    for table in tables:
        sources[table] = tuple(source for source in sources.get(table, ()) if works(table, source))
    return dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, sources=sources)), lost
