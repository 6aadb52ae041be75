"""The stages of a recipe: how each starts, resumes and ends in its run. The loop is :mod:`muomni_cli.training.loop`."""

from __future__ import annotations

import gc
import hashlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.training import Objective
from muomni_cli.core.checksums import COMMENT, sealed
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_bytes, write_sealed_json
from muomni_cli.core.partial import sweep_files
from muomni_cli.data.batches import Drawn
from muomni_cli.data.conversations import omni_fingerprint
from muomni_cli.data.sources import open_sources
from muomni_cli.data.text import train_tokenizer
from muomni_cli.nn.device import memory_bytes, memory_errors_told, set_threads, total_memory
from muomni_cli.recipe.model import MADE_BY, parts_of, stages_of
from muomni_cli.recipe.stages import DPO, OMNI, PAIRED, SPEAKING, TALKER_DPO
from muomni_cli.recipe.write import resolved_toml
from muomni_cli.registry.entries import differences, part_entry
from muomni_cli.registry.registry import did_you_mean, resolve
from muomni_cli.runs.checkpoint import model_tensors, parameters_of, write_checkpoint
from muomni_cli.runs.references import KEY, referring_entry
from muomni_cli.runs.run import BEST, LAST, RunFolder, make_lock, read_header, run_lock, stage_lock
from muomni_cli.training.base_model import load_pretrained
from muomni_cli.training.callbacks import CallbackList, Display, RunRecorder
from muomni_cli.training.context import TrainingContext, part_arguments
from muomni_cli.training.distributed.choice import strategy_for
from muomni_cli.training.distributed.group import Group, join_group
from muomni_cli.training.dry_run import DryRun, dry_run
from muomni_cli.training.initial_weights import borrowed_part, build_alone, build_omni
from muomni_cli.training.loop import Trainer
from muomni_cli.training.objectives import AnswerTrace
from muomni_cli.training.pair_stages import begun_from, pair_entries, pair_objective, require_untuned

if TYPE_CHECKING:
    from muomni_cli.recipe.model import PartSpec, Recipe
    from muomni_cli.training.preferences import PreferenceObjective

TRIAL_CHARS = 10_000_000  # most characters to train a temporary tokenizer on (dry run)
CPU = torch.device("cpu")
USES_TOKENIZER = ("thinker", OMNI, DPO)  # stages that a model in ``init`` gives its tokenizer
ROOM = 0.6  # of a device's memory for what does not depend on the batch
LESS_MEMORY = "lower batch_size or the sizes of its part, raise accumulate, or set checkpoint_activations=true"


@dataclass(frozen=True, slots=True)
class Job:
    """One stage to train into ``run``. ``command`` trains it, without options; for messages."""

    recipe: Recipe
    stage: str
    run: RunFolder
    command: str

    @property
    def chosen(self) -> PartSpec | None:
        """The part that this stage trains by itself; None for omni and those on pairs. RequestError if unknown."""
        known = stages_of(self.recipe)
        if self.stage not in known:
            listed = f"its stages: {', '.join([*known, 'all'])}" if known else "name a part that can be trained"
            lacks = MADE_BY.get(self.stage)  # of a name that is none, the nearest is told
            raise RequestError(
                f"recipe {self.recipe.name} has no stage {self.stage!r}",
                f"give it {lacks}; {listed}" if lacks else did_you_mean(self.stage, [*known, "all"], listed),
            )
        return parts_of(self.recipe).get(self.stage)

    @property
    def kind(self) -> str:
        """The kind of its part, or the stage's name."""
        return self.chosen.registered.part.kind if self.chosen else self.stage

    @property
    def borrows(self) -> bool:
        """Whether its part takes weights of others, and nothing is trained."""
        return self.chosen is not None and self.chosen.registered.part.borrowed

    @property
    def last(self) -> Path:
        return self.run.stage(self.stage) / LAST


def train(jobs: Sequence[Job], *, resume: bool = False, force: bool = False, profile: bool = False) -> None:
    """Train stages of one run, one after the other.

    Other processes may train other stages of the run at the same time, except with ``force`` or for a tokenizer, on
    which all other stages depend.

    Args:
        jobs: at least one.
        resume: continue an unfinished stage, or a finished one if the recipe now has more steps.
        force: train again in place; a stage's old files are removed once the stage has been opened.
        profile: write a trace of a few steps of each stage beside its checkpoints.

    Raises:
        RequestError: a stage is unfinished, differs from the run, or is locked by another process.
        StoppedError: after a signal, when everything is saved.
    """
    again = frozenset(job.stage for job in jobs) if force else frozenset[str]()
    for job in jobs:
        _ = job.chosen  # an unknown stage is an error before anything is written
    timeout = max(job.recipe.train_for(job.stage).timeout for job in jobs)
    with join_group(timeout) as group, _lock(jobs[0], group, "") if force else nullcontext():
        for job in jobs:
            group.wait()
            whole_run = job.kind == "tokenizer" and job.run.status(job.stage) != "finished"
            with nullcontext() if force else _lock(job, group, "" if whole_run else job.stage):
                _train(job, group, resume=resume, force=force, again=again, profile=profile)


def _lock(job: Job, group: Group, stage: str) -> AbstractContextManager[None]:
    """The lock of a stage, which one process holds for all."""
    return stage_lock(job.run.root, stage) if group.main else nullcontext()


def _train(job: Job, group: Group, *, resume: bool, force: bool, again: frozenset[str], profile: bool) -> None:
    begin = _beginning(job, resume=resume, force=force, again=again)
    group.wait()  # all have seen the run as it was
    if begin == "nothing":
        return
    if job.kind == "tokenizer":
        if group.main:
            _train_tokenizer(job, again)
        return
    with memory_errors_told(f"training {job.stage}", LESS_MEMORY):
        if job.borrows:
            if group.main:
                _take_weights(job, force=force)
            return
        _train_part(job, group, resume=begin == "resumed", force=force, profile=profile)


def _beginning(job: Job, *, resume: bool, force: bool, again: frozenset[str]) -> Literal["nothing", "new", "resumed"]:
    """How a stage begins in its run, which is not changed."""
    _require_same_parts(job, again if resume else again | {job.stage})
    require_untuned(job.run, job.stage, again)
    status, states = job.run.status(job.stage), job.run.model()["stages"]
    if force:
        users = [stage for stage in states if stage not in again]
        if job.stage == "tokenizer" and users:
            raise RequestError(
                f"{', '.join(users)} of {job.run.root} was trained with this tokenizer",
                "train everything again (muomni train all RECIPE --force), or another run with --run NAME",
            )
    elif status == "finished":
        done = states[job.stage].get("step")
        if not resume or done is None or job.recipe.train_for(job.stage).steps <= done:
            say(
                f"{job.stage} of {job.run.root} is finished; train it again with --force, "
                "or keep it and train another run with --run NAME"
            )
            return "nothing"
    elif status == "unfinished" and not resume and job.last.is_file():
        raise RequestError(
            f"{job.stage} of {job.run.root} is unfinished",
            f"continue it: {job.command} --resume    or start again: {job.command} --force",
        )
    if job.kind != "tokenizer" and resume and not job.last.is_file():
        if status != "missing" and "step" in states[job.stage]:  # recorded with every checkpoint
            state = f"is {status} after {states[job.stage]['step']} steps"
            raise RequestError(
                f"{job.stage} of {job.run.root} {state}, and its checkpoint {job.last} is missing",
                "restore it, or train the stage from the first step with --force",
            )
        if status == "unfinished":
            say(f"{job.stage} of {job.run.root} has no checkpoint yet and starts at the first step")
    return "resumed" if resume and job.last.is_file() else "new"


def _require_same_parts(job: Job, leave_out: frozenset[str]) -> None:
    held = job.run.model()["parts"]
    for stage, chosen in parts_of(job.recipe).items():
        named, aside = part_entry(chosen.registered, chosen.config, ""), chosen.registered.part.config.training_only
        if stage in held and stage not in leave_out and (changed := differences(held[stage], named, aside)):
            raise RequestError(
                f"{stage} of {job.run.root} differs from the recipe in {' and '.join(changed)}",
                f"restore the setting, train another run with --run NAME, or train {stage} again with --force",
            )


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


def _take_weights(job: Job, *, force: bool) -> None:
    """Record the weights that the part's config names. The checkpoint holds no copy, but what they are."""
    chosen, folder = job.chosen, job.run.stage(job.stage)
    assert chosen is not None, "only parts borrow weights"
    module, arguments = borrowed_part(job.recipe, job.stage, chosen)
    more = {**arguments, **referring_entry(module)}
    part = part_entry(chosen.registered, chosen.config, f"{job.stage}/{LAST}", **more)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    _write_recipe(job, {})
    folder.mkdir(parents=True, exist_ok=True)
    recipe = hashlib.sha256(resolved_toml(job.recipe).encode()).hexdigest()
    header = {"stage": job.stage, "part": part, "recipe": recipe, "seed": job.recipe.seed, "step": 0, "best": None}
    write_checkpoint(job.last, header, {"model": model_tensors(module)})
    job.run.record(job.stage, {"status": "finished"}, part, job.recipe.chat.model_dump(mode="json"))
    say(f"{job.stage}: the weights in {more[KEY]['folder']} are used as they are; wrote {job.last}")


def _train_part(job: Job, group: Group, *, resume: bool, force: bool, profile: bool) -> None:
    drawn = _drawn(job) if resume else []
    folder = job.run.stage(job.stage)
    with group.in_turn():
        context = _context(job, partial(_learn_first, job, alone=force), drawn=drawn, group=group)
        objective = _objective(job, context, resume=resume)
        part, about = _entries(job, context, objective)
        fingerprints = _data_fingerprints(job, context, objective)
    callbacks = [
        (name, resolve(chosen.registered.part.build, f"callback {name}")(chosen.config))
        for name, chosen in job.recipe.callbacks.items()
    ]
    listed = [("recorder", RunRecorder(job.run, job.stage, part, about)), *callbacks] if group.main else []
    trainer = Trainer(
        objective,
        context,
        folder=folder,
        about={
            "part": part,
            **_adapters_of(context),
            **(begun_from(context) if job.stage in PAIRED else {}),
            "recipe": hashlib.sha256(resolved_toml(job.recipe).encode()).hexdigest(),
        },
        command=job.command,
        callbacks=CallbackList(listed, say),
        display=Display(job.stage, context.settings.steps),
        drawn=drawn,
        profile=profile,
    )

    def begin() -> None:
        if force:
            shutil.rmtree(folder, ignore_errors=True)
        if folder.is_dir():
            sweep_files(folder)  # of a killed process: the stage is locked
        _write_recipe(job, fingerprints)
        job.run.record(job.stage, {"status": "unfinished"}, chat=job.recipe.chat.model_dump(mode="json"))
        count = sum(p.numel() for p in objective.module.parameters())
        several = f" in {group.world_size} processes ({context.strategy.name})" if group.world_size > 1 else ""
        say(f"training {job.stage} ({count:,} parameters) on {context.device}{several} into {folder}")

    done = trainer.run(resume=resume, begin=begin)
    best = folder / BEST
    also = f" and {best} (step {read_header(best)['step']})" if best.is_file() else ""
    say(f"wrote {trainer.last} (step {done}){also}")


def _adapters_of(context: TrainingContext) -> dict[str, Any]:
    lora = context.settings.lora
    return {} if lora is None else {"lora": lora.model_dump(mode="json")}


def _entries(job: Job, context: TrainingContext, objective: Objective) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """What ``model.json`` holds about the part of the stage, and about the stage."""
    if job.stage in USES_TOKENIZER:
        base = load_pretrained(context.settings.init, job.stage)
        if base is not None and context.strategy.main and base.give_tokenizer(job.recipe, job.run):
            say(f"tokenizer: {base.run.stage('tokenizer')}")
    if job.chosen is not None:
        head_metadata = getattr(objective, "head_metadata", None)
        arguments = part_arguments(job.recipe, job.stage, context)
        more = arguments if head_metadata is None else {**arguments, "head_metadata": head_metadata}
        return part_entry(job.chosen.registered, job.chosen.config, f"{job.stage}/{LAST}", **more), {}
    if job.stage in PAIRED:
        return None, pair_entries(context)
    return None, {"parts": _joint_entries(job.recipe, context, objective.module)}


def _drawn(job: Job) -> list[tuple[int, int]]:
    """What the checkpoint has drawn from the data. RequestError if it has done more steps than the recipe asks for."""
    header, settings = read_header(job.last), job.recipe.train_for(job.stage)
    if (done := int(header.get("step", 0))) > settings.steps:
        raise RequestError(
            f"{job.stage} of {job.run.root} has done {done} steps already, and the recipe asks for {settings.steps}",
            f"raise train.{job.stage}.steps, or start again with --force",
        )
    return [(steps, size) for steps, size in header.get("drawn", [(done, settings.batch_size)])]


def _learn_first(job: Job, *, alone: bool) -> Tokenizer:
    """Train the tokenizer that ``job`` needs, which is quick. ``alone``: the whole run is locked already."""
    command = job.command.replace(f"muomni train {job.stage} ", "muomni train tokenizer ", 1)
    first = replace(job, stage="tokenizer", command=command)
    with nullcontext() if alone else stage_lock(job.run.root, first.stage):
        if job.run.status(first.stage) == "missing":  # else another process trained it meanwhile
            say("there is no tokenizer yet: training it first")
            _train_tokenizer(first, frozenset())
    return job.run.tokenizer(first.command)


def _data_fingerprints(job: Job, context: TrainingContext, objective: Objective) -> dict[str, str]:
    if job.kind == "thinker":
        return {"text": context.text().fingerprint} if job.recipe.data.text else {}
    if job.stage in PAIRED:
        return {job.stage: cast("PreferenceObjective", objective).fingerprint}
    if job.stage == OMNI:
        return {OMNI: omni_fingerprint(job.recipe, open_sources(job.recipe, OMNI), context.tokenizer())}
    learns = job.kind == "encoder" or job.stage in SPEAKING
    return {job.recipe.table_of(job.stage): context.examples().fingerprint} if learns else {}


def _joint_entries(recipe: Recipe, context: TrainingContext, omni: Any) -> dict[str, dict[str, Any]]:
    """Entries of the parts that the omni stage trains, as if each had been trained alone."""
    assert recipe.thinker is not None, "checked in build_omni"
    size = context.tokenizer().vocab_size
    thinker = part_entry(recipe.thinker.registered, recipe.thinker.config, "", vocab_size=size)
    encoders = {
        name: part_entry(c.registered, c.config, "", **referring_entry(omni.encoders[name]))
        for name, c in recipe.encoders.items()
    }
    return {"thinker": thinker, **encoders}


def _write_recipe(job: Job, data: dict[str, str]) -> None:
    sources = [source for group in job.recipe.data.sources.values() for source in group]
    chosen = [*parts_of(job.recipe).values(), *sources, *job.recipe.callbacks.values()]
    lock = make_lock([one.registered for one in chosen], seed=job.recipe.seed, data=data)
    with run_lock(job.run.root):
        if job.run.root.is_dir():
            sweep_files(job.run.root)
        write_bytes(job.run.recipe_path, sealed(f"{COMMENT}{resolved_toml(job.recipe)}".encode()))
        write_sealed_json(job.run.root / "lock.json", lock)


def try_stages(jobs: Sequence[Job]) -> list[DryRun]:
    """Measure some steps of every stage in memory and estimate the total.

    Missing parts are replaced by untrained ones, a missing tokenizer by a temporary one. RequestError if a stage has no
    steps, or data is missing.
    """
    recipe = jobs[0].recipe

    @cache
    def learn() -> Tokenizer:
        chars = min(recipe.data.tokenizer_chars, TRIAL_CHARS)
        settings = recipe.data.settings.model_copy(update={"tokenizer_chars": chars})
        say("there is no tokenizer yet: training a temporary one for the dry run")
        return train_tokenizer(replace(recipe, data=replace(recipe.data, settings=settings)), lambda _: None)

    tried = []
    base = memory_bytes(CPU)
    for job in jobs:
        gc.collect()
        left = max(0, memory_bytes(CPU) - base)  # by earlier stages
        with memory_errors_told(f"trying {job.stage}", LESS_MEMORY):
            found = _try_stage(job, learn)
        tried.append(replace(found, memory=found.memory - (left if found.device == "cpu" else 0)))
    return tried


def _try_stage(job: Job, learn: Callable[[], Tokenizer]) -> DryRun:
    if job.kind == "tokenizer":
        raise RequestError("the tokenizer stage has no steps to try", f"train it: {job.command}")
    if job.borrows:
        raise RequestError(f"the stage {job.stage} takes weights as they are: it has no steps", f"do it: {job.command}")
    begin = time.perf_counter()
    _objective(job, _context(job, learn, trial=True))
    first = time.perf_counter() - begin
    context = _context(job, learn, trial=True)  # again, now with cached data, as the training will find it
    objective = _objective(job, context)
    second = time.perf_counter() - begin - first
    return dry_run(objective, context, opening=second, preparing=max(0.0, first - second))


def _context(
    job: Job,
    learn: Callable[[], Tokenizer],
    *,
    trial: bool = False,
    drawn: Drawn = (),
    group: Group | None = None,
) -> TrainingContext:
    group = group or Group()
    settings = job.recipe.train_for(job.stage)
    device = group.device(settings.device)
    set_threads(group.threads(settings.threads))
    parallel = settings.parallel
    if parallel == "auto" and group.world_size > 1:
        parallel = "ddp" if _fits(job, group, device) else "fsdp"
    strategy = strategy_for(parallel, group, job.stage)
    chosen = (job.recipe, job.stage, strategy.settings(settings), job.recipe.seed, device, job.run)
    return TrainingContext(*chosen, reports=True, learn_tokenizer=learn, trial=trial, drawn=drawn, strategy=strategy)


def _fits(job: Job, group: Group, device: torch.device) -> bool:
    """Whether weights, gradients and optimizer of the stage leave room for activations in each process."""
    counts = parameters_of(job.recipe)
    own = sum(counts.get(name, 0) for name in ("thinker", *job.recipe.encoders, "projectors"))
    tuned = {DPO: "thinker", TALKER_DPO: "talker"}.get(job.stage, job.stage)
    count = own if job.stage == OMNI else counts.get(tuned, 0)
    shared = group.local_world_size if device.type == "cpu" else 1
    return 4 * 4 * count <= ROOM * total_memory(device) / shared


def _objective(job: Job, context: TrainingContext, *, resume: bool = False) -> Objective:
    torch.manual_seed(context.seed)
    if job.stage in PAIRED:
        return pair_objective(context, read_header(job.last) if resume else None)
    if job.chosen is None:
        return AnswerTrace(build_omni(context, resume=resume), context)
    part = job.chosen.registered.part
    assert part.objective is not None, "checked in Job.chosen"
    module = build_alone(job.chosen, part_arguments(job.recipe, job.stage, context), context, resume=resume)
    objective: Objective = resolve(part.objective, f"{part.kind} {part.name}")(module, context)
    return objective
