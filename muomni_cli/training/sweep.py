"""Trials of one stage with other settings: every combination of lists, or chosen by Optuna (arXiv:1907.10902).

Each trial is a run of its own in the folder of the sweep, whose ``sweep.json`` says what has been tried. A sampler is
built anew for each trial, from the seed, the trial's number and the trials before it, so that a sweep that was
interrupted goes on as if it had not been.
"""

from __future__ import annotations

import gc
import itertools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomlkit

from muomni_cli.core.errors import MuomniError, RequestError, require
from muomni_cli.core.files import read_json, replacing, write_json
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.recipe.overrides import parse_value
from muomni_cli.runs.digests import DIGESTS
from muomni_cli.runs.listing import read_lines
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.processes import StoppedError
from muomni_cli.training.stages import Job, train

STATE = "sweep.json"
RANGE = frozenset({"low", "high", "log"})
TRIALS = 20  # of a sweep with ranges
Sampler = Literal["grid", "tpe", "random"]


@dataclass(frozen=True, slots=True)
class Axis:
    """A key of the recipe and what is tried for it: ``choices``, or numbers from ``low`` to ``high``."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only integers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(slots=True)
class Trial:
    """One training. ``words``: what it changes in the recipe; ``values``: the same, by key."""

    number: int
    values: dict[str, Any]
    status: Literal["running", "finished", "failed"] = "running"
    value: float | None = None  # the best of the metric
    step: int | None = None  # where that was measured
    reason: str = ""  # why it failed

    @property
    def words(self) -> list[str]:
        return [f"{key}={tomlkit.item(value).as_string()}" for key, value in self.values.items()]

    @property
    def folder(self) -> str:
        return f"trial-{self.number:03}"


@dataclass(slots=True)
class Sweep:
    """A sweep and its trials, in order. ``words``: overrides of all trials."""

    root: Path
    recipe: str
    stage: str
    axes: list[Axis]
    words: list[str]
    sampler: Sampler
    count: int  # of trials
    metric: str = "loss"
    maximize: bool = False
    base: str = ""  # run that each trial begins with, for earlier stages
    trials: list[Trial] = field(default_factory=list)

    def save(self) -> None:
        """Write ``sweep.json``. MuomniError if it cannot be written."""
        write_json(self.root / STATE, {"format": 1, **asdict(self), "root": str(self.root)})

    def ranked(self) -> list[Trial]:
        """The trials, the best first, those without a value last."""
        sign = -1 if self.maximize else 1
        return sorted(self.trials, key=lambda one: (one.value is None, sign * (one.value or 0.0), one.number))


def axes_of(words: Sequence[str]) -> tuple[list[Axis], list[str]]:
    """What ``words`` (KEY=VALUE) vary, and the others, which hold for all trials. A list varies; so does a table with
    ``low`` and ``high``, and ``log = true`` for a logarithmic scale.

    Raises:
        RequestError: nothing varies, a list is empty, or a range is none.
    """
    axes: list[Axis] = []
    fixed: list[str] = []
    for word in words:
        key, _, text = word.partition("=")
        value = parse_value(text)
        if isinstance(value, list):
            if not value:
                raise RequestError(f"{key} has nothing to try", f"write {key}=[VALUE, VALUE]")
            axes.append(Axis(key.strip(), tuple(value)))
        elif isinstance(value, dict) and {"low", "high"} <= value.keys():
            axes.append(_range(key.strip(), value))
        else:
            fixed.append(word)
    if not axes:
        raise RequestError("there is nothing to try", "for example: lr=[1e-4, 3e-4, 1e-3]")
    if len({axis.key for axis in axes}) < len(axes):
        raise RequestError("a key is given twice", "write all its values into one list")
    return axes, fixed


def _range(key: str, value: Mapping[str, Any]) -> Axis:
    low, high, log = value["low"], value["high"], value.get("log", False)
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in (low, high))
    if value.keys() - RANGE or not numbers or not isinstance(log, bool) or not low < high or (log and low <= 0):
        fix = f"for example: {key}={{low=1e-5, high=1e-2, log=true}}; a logarithmic scale needs positive numbers"
        raise RequestError(f"{key} is not a range", fix)
    return Axis(key, (), low, high, log)


def choose_sampler(axes: Sequence[Axis], asked: str, trials: int) -> tuple[Sampler, int]:
    """How trials are chosen, and how many there are (``trials``: 0 for the default).

    Raises:
        RequestError: a grid of ranges, or a sampler that is unknown.
        MuomniError: Optuna is not installed.
    """
    grid = all(axis.choices for axis in axes)
    if asked not in ("", "grid", "tpe", "random"):
        raise RequestError(f"there is no sampler {asked!r}", "choose grid, tpe or random")
    sampler: Sampler = asked or ("grid" if grid else "tpe")  # type: ignore[assignment]
    if sampler != "grid":
        require("muomni sweep with ranges, tpe or random", "optuna")
        return sampler, trials or TRIALS
    if not grid:
        raise RequestError("a range has no grid", "write a list of values, or use --sampler tpe")
    every = math.prod(len(axis.choices) for axis in axes)
    return sampler, min(trials, every) if trials else every


def run_sweep(sweep: Sweep, notify: Callable[[str], None]) -> Sweep:
    """Train the trials that are left.

    Raises:
        StoppedError: after a signal, when everything is saved.
        RequestError: the recipe is wrong, or every trial failed.
    """
    sweep.root.mkdir(parents=True, exist_ok=True)
    for number in range(sweep.count):
        if number < len(sweep.trials) and sweep.trials[number].status != "running":
            continue
        if number == len(sweep.trials):
            values = _next(sweep)
            load_recipe(sweep.recipe, [*sweep.words, *Trial(number, values).words])  # mistakes come before the trial
            sweep.trials.append(Trial(number, values))
            sweep.save()
        trial = sweep.trials[number]
        notify(f"trial {number + 1} of {sweep.count}: {' '.join(trial.words)}")
        _try(sweep, trial)
        sweep.save()
        shown = f"{sweep.metric} {trial.value:.4f} at step {trial.step}" if trial.value is not None else trial.reason
        notify(f"trial {number + 1} of {sweep.count}: {shown}")
        gc.collect()
    if all(trial.status == "failed" for trial in sweep.trials):
        raise RequestError(
            f"every trial failed; the first: {sweep.trials[0].reason}", "correct the values, and --force"
        )
    return sweep


def _try(sweep: Sweep, trial: Trial) -> None:
    """Train one trial and measure it; a failure is written down."""
    run = RunFolder(sweep.root / trial.folder)
    recipe = load_recipe(sweep.recipe, [*sweep.words, *trial.words])
    job = Job(recipe, sweep.stage, run, f"muomni train {sweep.stage} {sweep.recipe}")
    if sweep.base and not run.root.exists():
        _begin_with(RunFolder(Path(sweep.base)), run, sweep.stage)
    try:
        if run.status(sweep.stage) != "finished":
            train([job], resume=job.last.is_file())
        trial.value, trial.step = best_of(run, sweep)
        trial.status = "finished"
    except StoppedError:
        raise
    except MuomniError as error:
        trial.status, trial.reason = "failed", error.what


def _begin_with(base: RunFolder, run: RunFolder, stage: str) -> None:
    """Copy the run ``base`` without ``stage``."""
    temporary = run.root.with_name(f".{run.root.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(base.root, temporary, ignore=shutil.ignore_patterns(DIGESTS))
    copy = RunFolder(temporary)
    if stage in copy.model()["stages"]:
        copy.forget(stage)
    temporary.rename(run.root)


def best_of(run: RunFolder, sweep: Sweep) -> tuple[float, int]:
    """The best value of the sweep's metric in validations, and its step. RequestError if it was not measured."""
    lines = read_lines(run.stage(sweep.stage) / "metrics.jsonl")
    name = f"val_{sweep.metric}"
    found = [(float(line[name]), int(line["step"])) for line in lines if math.isfinite(line.get(name, math.nan))]
    if not found:
        names = sorted({key.removeprefix("val_") for line in lines for key in line if key.startswith("val_")})
        fix = f"there is: {', '.join(names)}" if names else "set val_every"
        raise RequestError(f"validations of {sweep.stage} did not measure {sweep.metric!r}", fix)
    return (max if sweep.maximize else min)(found, key=lambda one: one[0])


def _next(sweep: Sweep) -> dict[str, Any]:
    """The values of the next trial."""
    number = len(sweep.trials)
    if sweep.sampler == "grid":
        every = itertools.product(*(axis.choices for axis in sweep.axes))
        chosen = next(itertools.islice(every, number, None))
        return {axis.key: value for axis, value in zip(sweep.axes, chosen, strict=True)}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kind = optuna.samplers.TPESampler if sweep.sampler == "tpe" else optuna.samplers.RandomSampler
    study = optuna.create_study(direction="maximize" if sweep.maximize else "minimize", sampler=kind(seed=number))
    known = {axis.key: _distribution(axis) for axis in sweep.axes}
    for trial in sweep.trials:
        if trial.value is not None:
            values = {axis.key: _as_parameter(axis, trial.values[axis.key]) for axis in sweep.axes}
            study.add_trial(optuna.trial.create_trial(params=values, distributions=known, value=trial.value))
    found = study.ask(known).params
    return {axis.key: axis.choices[found[axis.key]] if axis.choices else found[axis.key] for axis in sweep.axes}


def _distribution(axis: Axis) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices:  # by their places: a value of a recipe may be a list or a table
        return CategoricalDistribution(list(range(len(axis.choices))))
    return (IntDistribution if axis.whole else FloatDistribution)(axis.low, axis.high, log=axis.log)


def _as_parameter(axis: Axis, value: Any) -> Any:
    return list(axis.choices).index(value) if axis.choices else value


def open_sweep(asked: Sweep, *, resume: bool, force: bool) -> Sweep:
    """``asked``, or what is in its folder. RequestError: the folder is in use without ``resume`` or ``force``, there is
    nothing to resume, or it tries something else."""
    path = asked.root / STATE
    if force:
        shutil.rmtree(asked.root, ignore_errors=True)
    if not path.is_file():
        if resume:
            raise RequestError(
                f"there is no sweep {asked.root} to continue", "start it: the same command without --resume"
            )
        if asked.root.exists():
            raise RequestError(f"{asked.root} exists", "name another sweep: --name NAME, or replace it: --force")
        return asked
    if not resume:
        raise RequestError(f"the sweep {asked.root} exists", "continue it: --resume, or start again: --force")
    held = read_json(path)
    trials = [Trial(**one) for one in held["trials"]]
    same = asdict(asked)
    different = [name for name in ("stage", "axes", "words", "sampler", "metric", "maximize", "base")
                 if _plain(held[name]) != _plain(same[name])]  # fmt: skip
    if different:
        raise RequestError(f"the sweep {asked.root} has other {', '.join(different)}", "repeat its command, or --force")
    asked.trials = trials
    return asked


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def plot_sweep(sweep: Sweep, path: Path) -> None:
    """Plot the metric of the trials against each key, as SVG or PNG. MuomniError if matplotlib is missing or the file
    cannot be written; RequestError for another suffix."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("svg", "png"):
        raise RequestError(f"unsupported picture format: {path.suffix or path.name}", "name a .svg or .png file")
    require("a plot", "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    done = [trial for trial in sweep.trials if trial.value is not None]
    figure = Figure(figsize=(1 + 3.5 * len(sweep.axes), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sweep.axes), sharey=True, squeeze=False)[0]
    for axis, panel in zip(sweep.axes, panels, strict=True):
        values = [trial.values[axis.key] for trial in done]
        if axis.choices:
            panel.set_xticks(range(len(axis.choices)), [str(choice) for choice in axis.choices])
            values = [_as_parameter(axis, value) for value in values]
        elif axis.log:
            panel.set_xscale("log")
        panel.plot(values, [trial.value for trial in done], "o")
        panel.set_xlabel(axis.key)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel(f"best {sweep.metric} in validation")
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150)


def default_stage(recipe: Recipe, stages: Sequence[str]) -> str:
    """The stage that a sweep trains if none is named. RequestError if there are several."""
    alone = [stage for stage in stages if stage != "tokenizer"]
    if len(alone) != 1:
        raise RequestError(
            f"recipe {recipe.name} has several stages", f"name one: --stage {alone[0] if alone else 'STAGE'}"
        )
    return alone[0]
