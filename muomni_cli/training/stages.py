"""The stages of a recipe: how each starts, resumes and ends in its run. The training itself is
:mod:`muomni_cli.training.loop`."""

from __future__ import annotations

import gc
import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.training import Objective
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_json, write_text
from muomni_cli.data.conversations import omni_fingerprint
from muomni_cli.data.sources import open_sources
from muomni_cli.data.text import train_tokenizer
from muomni_cli.nn.device import choose_device, memory_bytes, set_threads
from muomni_cli.recipe import resolved_toml
from muomni_cli.recipe.model import OMNI, SPEAKING, parts_of, stages_of
from muomni_cli.registry.registry import did_you_mean, resolve
from muomni_cli.runs.run import (
    BEST,
    LAST,
    RunFolder,
    build_arguments,
    differences,
    make_lock,
    part_entry,
    read_header,
    run_lock,
    stage_lock,
)
from muomni_cli.training.base_model import load_pretrained
from muomni_cli.training.callbacks import CallbackList, Display, RunRecorder
from muomni_cli.training.context import TrainingContext, part_arguments
from muomni_cli.training.dry_run import DryRun, dry_run
from muomni_cli.training.loop import Trainer

if TYPE_CHECKING:
    from muomni_cli.recipe import PartSpec, Recipe

TRIAL_CHARS = 10_000_000  # most characters to train a temporary tokenizer on (dry run)
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to train into ``run``. ``command`` trains it, without options; for messages."""

    recipe: Recipe
    stage: str
    run: RunFolder
    command: str

    @property
    def chosen(self) -> PartSpec | None:
        """The part that this stage trains; None for omni, which trains several. RequestError for an unknown stage."""
        known = stages_of(self.recipe)
        if self.stage not in known:
            listed = f"its stages: {', '.join([*known, 'all'])}" if known else "name a part that can be trained"
            raise RequestError(
                f"recipe {self.recipe.name} has no stage {self.stage!r}",
                did_you_mean(self.stage, [*known, "all"], listed),
            )
        return parts_of(self.recipe).get(self.stage)

    @property
    def kind(self) -> str:
        """The kind of its part, or the stage's name."""
        return self.chosen.registered.part.kind if self.chosen else self.stage

    def command_of(self, stage: str) -> str:
        return self.command.replace(f"muomni train {self.stage} ", f"muomni train {stage} ", 1)

    @property
    def last(self) -> Path:
        return self.run.stage(self.stage) / LAST


def train(jobs: Sequence[Job], *, resume: bool = False, force: bool = False) -> None:
    """Train stages of one run, one after the other.

    Other processes may train other stages of the run at the same time, except with ``force`` or for a tokenizer, on
    which
    all other stages depend.

    Args:
        jobs: at least one.
        resume: continue an unfinished stage, or a finished one if the recipe now has more steps.
        force: train again in place; a stage's old files are removed once the stage has been opened.

    Raises:
        RequestError: a stage is unfinished, differs from the run, or is locked by another process.
        StoppedError: after a signal, when everything is saved.
    """
    again = frozenset(job.stage for job in jobs) if force else frozenset[str]()
    for job in jobs:
        _ = job.chosen  # an unknown stage is an error before anything is written
    with stage_lock(jobs[0].run.root) if force else nullcontext():
        for job in jobs:
            with nullcontext() if force else stage_lock(job.run.root, _own(job)):
                _train(job, resume=resume, force=force, again=again)


def _learn_first(job: Job, *, alone: bool) -> Tokenizer:
    """Train the tokenizer that ``job`` needs, without being asked: it is quick. ``alone``: the whole run is locked
    already."""
    first = replace(job, stage="tokenizer", command=job.command_of("tokenizer"))
    with nullcontext() if alone else stage_lock(job.run.root, first.stage):
        if job.run.status(first.stage) == "missing":  # else another process trained it meanwhile
            say("there is no tokenizer yet: training it first")
            _train_tokenizer(first, frozenset())
    return job.run.tokenizer(first.command)


def _own(job: Job) -> str:
    """The folder to lock: the stage's own, or the whole run for a new tokenizer, on which everything depends."""
    return "" if job.kind == "tokenizer" and job.run.status(job.stage) != "finished" else job.stage


def _train(job: Job, *, resume: bool, force: bool, again: frozenset[str]) -> None:
    _require_same_parts(job, again if resume else again | {job.stage})
    status = job.run.status(job.stage)
    if not force:
        if status == "finished" and not (resume and _has_more_steps(job)):
            say(
                f"{job.stage} of {job.run.root} is finished; train it again with --force, "
                "or keep it and train another run with --run NAME"
            )
            return
        if status == "unfinished" and not resume and job.last.is_file():
            raise RequestError(
                f"{job.stage} of {job.run.root} is unfinished",
                f"continue it: {job.command} --resume    or start again: {job.command} --force",
            )
    elif job.stage == "tokenizer":
        _require_unused_tokenizer(job, again)
    if job.kind == "tokenizer":
        _train_tokenizer(job, again)
        return
    if resume and status == "unfinished" and not job.last.is_file():
        say(f"{job.stage} of {job.run.root} has no checkpoint yet and starts at the first step")
    _train_part(job, resume=resume and job.last.is_file(), force=force)


def try_stages(jobs: Sequence[Job]) -> list[DryRun]:
    """:func:`try_stage` of each, with memory left over by earlier ones subtracted."""
    tried = []
    base = memory_bytes(CPU)
    learn = cache(partial(_learn_aside, jobs[0].recipe))
    for job in jobs:
        gc.collect()
        left = max(0, memory_bytes(CPU) - base)
        found = try_stage(job, learn)
        tried.append(replace(found, memory=found.memory - (left if found.device == "cpu" else 0)))
    return tried


def try_stage(job: Job, learn: Callable[[], Tokenizer]) -> DryRun:
    """Measure some steps of a stage in memory and estimate the total. Missing parts are replaced by untrained ones, a
    missing tokenizer by that of ``learn``. RequestError if the stage has no steps, or data is missing."""
    if job.kind == "tokenizer":
        raise RequestError("the tokenizer stage has no steps to try", f"train it: {job.command}")
    begin = time.perf_counter()
    _objective(job, _context(job, learn, trial=True))
    first = time.perf_counter() - begin
    context = _context(job, learn, trial=True)  # again, now with cached data, as the training will find it
    objective = _objective(job, context)
    second = time.perf_counter() - begin - first
    return dry_run(objective, context, opening=second, preparing=max(0.0, first - second))


def _learn_aside(recipe: Recipe) -> Tokenizer:
    chars = min(recipe.data.tokenizer_chars, TRIAL_CHARS)
    settings = recipe.data.settings.model_copy(update={"tokenizer_chars": chars})
    say("there is no tokenizer yet: training a temporary one for the dry run")
    return train_tokenizer(replace(recipe, data=replace(recipe.data, settings=settings)), lambda _: None)


def _train_tokenizer(job: Job, again: frozenset[str]) -> None:
    tokenizer = train_tokenizer(job.recipe, say)
    with job.run.new_stage(job.stage) as folder:
        tokenizer.save(folder)
        for stage in again - {job.stage}:  # trained with the old one
            job.run.forget(stage)
    _write_recipe(job, {})
    chosen = job.chosen
    assert chosen is not None, "the tokenizer stage has a tokenizer"
    part = part_entry(chosen.registered, chosen.config, job.stage, vocab_size=tokenizer.vocab_size)
    job.run.record(job.stage, {"status": "finished"}, part, job.recipe.chat.model_dump(mode="json"))
    say(f"wrote {job.run.stage(job.stage)} ({tokenizer.vocab_size:,} tokens)")


def _train_part(job: Job, *, resume: bool, force: bool) -> None:
    if resume:
        _require_steps_left(job)
    context = _context(job, partial(_learn_first, job, alone=force))
    objective = _objective(job, context)
    base = load_pretrained(context.settings.init) if job.stage == OMNI else None
    if base is not None and base.give_tokenizer(job.recipe, job.run):
        say(f"tokenizer: {base.run.stage('tokenizer')}")
    part = _entry(job, context, objective)
    about = {"parts": _joint_entries(job, context)} if job.stage == OMNI else {}
    folder = job.run.stage(job.stage)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    _write_recipe(job, _data_fingerprints(job, context))
    callbacks = [
        (name, resolve(chosen.registered.part.build, f"callback {name}")(chosen.config))
        for name, chosen in job.recipe.callbacks.items()
    ]
    trainer = Trainer(
        objective,
        context,
        folder=folder,
        about={"part": part, "recipe": hashlib.sha256(resolved_toml(job.recipe).encode()).hexdigest()},
        command=job.command,
        callbacks=CallbackList([("recorder", RunRecorder(job.run, job.stage, part, about)), *callbacks], say),
        display=Display(job.stage, context.settings.steps),
    )
    job.run.record(job.stage, {"status": "unfinished"}, chat=job.recipe.chat.model_dump(mode="json"))
    count = sum(p.numel() for p in objective.module.parameters())
    say(f"training {job.stage} ({count:,} parameters) on {context.device} into {folder}")
    done = trainer.run(resume=resume)
    best = folder / BEST
    more = f" and {best} (step {read_header(best)['step']})" if best.is_file() else ""
    say(f"wrote {trainer.last} (step {done}){more}")


def _context(job: Job, learn: Callable[[], Tokenizer], *, trial: bool = False) -> TrainingContext:
    settings = job.recipe.train_for(job.stage)
    device = choose_device(settings.device)
    set_threads(settings.threads)
    seed = job.recipe.seed
    return TrainingContext(
        job.recipe, job.stage, settings, seed, device, job.run, reports=True, learn_tokenizer=learn, trial=trial
    )


def _objective(job: Job, context: TrainingContext) -> Objective:
    torch.manual_seed(context.seed)
    if job.chosen is None:
        from muomni_cli.training.initialize import build_omni
        from muomni_cli.training.objectives import AnswerTrace

        return AnswerTrace(build_omni(context), context)
    part = job.chosen.registered.part
    wanted = f"{part.kind} {part.name}"
    assert part.objective is not None, "checked in Job.chosen"
    build: Callable[..., Any] = resolve(part.build, wanted)
    arguments = part_arguments(job.recipe, job.stage, context)
    torch.manual_seed(context.seed)  # whatever part_arguments has opened
    module = build(job.chosen.config, **build_arguments(arguments))
    objective: Objective = resolve(part.objective, wanted)(module, context)
    return objective


def _data_fingerprints(job: Job, context: TrainingContext) -> dict[str, str]:
    if job.kind == "thinker":
        return {"text": context.text().fingerprint} if job.recipe.data.text else {}
    if job.stage == OMNI:
        return {OMNI: omni_fingerprint(job.recipe, open_sources(job.recipe, OMNI), context.tokenizer())}
    learns = job.kind == "encoder" or job.stage in SPEAKING
    return {job.recipe.table_of(job.stage): context.examples().fingerprint} if learns else {}


def _entry(job: Job, context: TrainingContext, objective: Objective) -> dict[str, Any] | None:
    chosen = job.chosen
    if chosen is None:
        return None
    weights = str(job.last.relative_to(job.run.root))
    head_metadata = getattr(objective, "head_metadata", None)
    more = {} if head_metadata is None else {"head_metadata": head_metadata}
    arguments = part_arguments(job.recipe, job.stage, context)
    return part_entry(chosen.registered, chosen.config, weights, **arguments, **more)


def _joint_entries(job: Job, context: TrainingContext) -> dict[str, dict[str, Any]]:
    """Entries of the parts that the omni stage trains, as if each had been trained alone."""
    assert job.recipe.thinker is not None, "checked in build_omni"
    size = context.tokenizer().vocab_size
    thinker = part_entry(job.recipe.thinker.registered, job.recipe.thinker.config, "", vocab_size=size)
    encoders = {name: part_entry(c.registered, c.config, "") for name, c in job.recipe.encoders.items()}
    return {"thinker": thinker, **encoders}


def _write_recipe(job: Job, data: dict[str, str]) -> None:
    sources = [source for group in job.recipe.data.sources.values() for source in group]
    chosen = [*parts_of(job.recipe).values(), *sources, *job.recipe.callbacks.values()]
    lock = make_lock([one.registered for one in chosen], seed=job.recipe.seed, data=data)
    with run_lock(job.run.root):
        write_text(job.run.recipe_path, resolved_toml(job.recipe))
        write_json(job.run.root / "lock.json", lock)


def _has_more_steps(job: Job) -> bool:
    done = job.run.model()["stages"][job.stage].get("step")
    return done is not None and job.recipe.train_for(job.stage).steps > done


def _require_steps_left(job: Job) -> None:
    """Refuse a checkpoint beyond the recipe's last step, or one that cannot be read."""
    done, steps = int(read_header(job.last).get("step", 0)), job.recipe.train_for(job.stage).steps
    if done > steps:
        raise RequestError(
            f"{job.stage} of {job.run.root} has done {done} steps already, and the recipe asks for {steps}",
            f"raise train.{job.stage}.steps, or start again with --force",
        )


def _require_same_parts(job: Job, leave_out: frozenset[str]) -> None:
    held = job.run.model()["parts"]
    for stage, chosen in parts_of(job.recipe).items():
        if stage not in held or stage in leave_out:
            continue
        named = part_entry(chosen.registered, chosen.config, "")
        changed = differences(held[stage], named)
        if changed:
            raise RequestError(
                f"{stage} of {job.run.root} differs from the recipe in {' and '.join(changed)}",
                f"restore the setting, train another run with --run NAME, or train {stage} again with --force",
            )


def _require_unused_tokenizer(job: Job, again: frozenset[str]) -> None:
    users = [stage for stage in job.run.model()["stages"] if stage not in again | {job.stage}]
    if users:
        raise RequestError(
            f"{', '.join(users)} of {job.run.root} was trained with this tokenizer",
            "train everything again (muomni train all RECIPE --force), or another run with --run NAME",
        )
