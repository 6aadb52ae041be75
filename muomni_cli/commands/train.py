"""``muomni train STAGE RECIPE``."""

from __future__ import annotations

import json as jsonlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.commands.train_voice import VOICE, train_voice, voice_request
from muomni_cli.core.console import print_json, say
from muomni_cli.core.errors import RequestError

LAUNCHED = "MUOMNI_DEVICES"  # in the environment of processes that --devices started

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe
    from muomni_cli.runs.run import RunFolder
    from muomni_cli.training.stages import Job


def train(
    stage: Annotated[str, typer.Argument(help="Stage to train: tokenizer, thinker, ..., all, or voice.")],
    recipe: Annotated[
        str,
        typer.Argument(help="Recipe file, or a name from `muomni recipes list`; for a voice the folder of its clips."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Recipe settings to change, as TOML values; [train] settings of the stage need no prefix: steps=100.",
        ),
    ] = None,
    init: Annotated[
        str, typer.Option("--init", metavar="MODEL", help="Start from the weights of this run or installed model.")
    ] = "",
    run: Annotated[
        str, typer.Option(metavar="NAME", help="Run folder under runs/ (default: the name of the recipe).")
    ] = "",
    voice: Annotated[
        str, typer.Option(metavar="NAME", help="With the stage voice: name of the new voice (default: mine).")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run from its last checkpoint, with the run's own recipe.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Train the stage from scratch; its old files are removed.")
    ] = False,
    jobs: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="With all: train stages in parallel while their `threads` add up to at most N."
        ),
    ] = 1,
    devices: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="N",
            help="Train in N processes, one a device (CPU: N processes); several machines: torchrun.",
        ),
    ] = 0,
    max_restarts: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="With --devices: start all processes again after a failure, N times."),
    ] = 0,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write a trace of steps 6 to 8 for Perfetto into the stage's folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Measure a few steps and print the memory and time of the whole training.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Train one stage of a recipe, or all of them; or a new voice, from a folder of clips and their texts."""
    _check_options(stage, jobs, resume=resume, force=force, dry_run=dry_run, json=json)
    _check_devices(devices, max_restarts, jobs=jobs, dry_run=dry_run)
    _set_environment()
    if stage == VOICE:
        if devices > 1 or dry_run or profile:
            raise RequestError("the stage voice has no --devices, --dry-run and --profile", "leave them out")
        train_voice(voice_request(recipe, init, run, voice, overrides or []), resume=resume, force=force)
        return
    if voice:
        raise RequestError(
            f"--voice names a new voice, and {stage} trains none", "leave it out, or: muomni train voice"
        )
    overrides = [*(overrides or []), *([f"init={jsonlib.dumps(init)}"] if init else [])]
    words = of_stage(overrides, stage)
    asked, folder = _opened(recipe, words, run, resume=resume)
    stages = _stages(asked, folder, stage, force=force)
    where = recipe + (f" --run {run}" if run else "")
    options = [*(("--run", run) if run else ()), *(("--resume",) if resume else ())]
    typed = [recipe, *overrides, *options]
    if dry_run:
        _try(_jobs(asked, stages, folder, where), one=stage != "all", json=json)
        return
    if jobs > 1:
        _train_parallel(asked, jobs, [recipe, *words, *options], typed)
    elif devices > 1:
        flags = {"--force": force, "--profile": profile}
        _train_distributed(asked, stages, devices, max_restarts, [stage, *typed, *(f for f, on in flags.items() if on)])
    else:
        _train_here(_jobs(asked, stages, folder, where), resume=resume, force=force, profile=profile)
    if LAUNCHED not in os.environ:  # else the process that started this one says it
        _say_next(folder, asked, where)


def _set_environment() -> None:
    """What must be set before numpy and torch are imported."""
    # numpy prepares batches during the steps; its threads would only slow down torch.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # PyTorch's advice to itself, printed by each process
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _opened(recipe: str, words: list[str], run: str, *, resume: bool) -> tuple[Recipe, RunFolder]:
    """The recipe, or that of the run to resume, and the run's folder."""
    from muomni_cli.core.files import RUNS
    from muomni_cli.recipe.load import load_recipe
    from muomni_cli.runs.run import RunFolder

    asked = load_recipe(recipe, words, RUNS / run if run else None)
    name = run or asked.name
    if name in ("", ".", "..") or Path(name).name != name:
        raise RequestError(f"invalid run name: {name!r}", f"give the name of a folder under {RUNS}/: --run NAME")
    folder = RunFolder(RUNS / name)
    if resume:
        if not folder.recipe_path.is_file():
            fix = "start it: the same command without --resume"
            raise RequestError(f"there is no run {folder.root} to continue", fix)
        asked = load_recipe(str(folder.recipe_path), words)
    for note in asked.notes if LAUNCHED not in os.environ else ():
        say(note)
    return asked, folder


def _stages(asked: Recipe, folder: RunFolder, stage: str, *, force: bool) -> list[str]:
    """The stages to train. Every missing public dataset is reported before the first one starts."""
    from muomni_cli.data.public_datasets import require_sets
    from muomni_cli.recipe.model import stages_of_all, tables_of

    stages = list(stages_of_all(asked)) if stage == "all" else [stage]
    waiting = [one for one in stages if force or folder.status(one) != "finished"]
    require_sets(asked, dict.fromkeys(table for one in waiting for table in tables_of(asked, one)))
    return stages


def _train_here(jobs: list[Job], *, resume: bool, force: bool, profile: bool) -> None:
    """Train in this process, which may be one of several."""
    from muomni_cli.training.stages import train as train_stages

    again = _restarted() and jobs[0].run.recipe_path.is_file()
    train_stages(jobs, resume=resume or again, force=force and not again, profile=profile)


def _jobs(asked: Recipe, stages: list[str], folder: RunFolder, where: str) -> list[Job]:
    from muomni_cli.training.stages import Job

    option = f" --devices {started}" if (started := os.environ.get(LAUNCHED)) else ""
    return [Job(asked, stage, folder, f"muomni train {stage} {where}{option}") for stage in stages]


def _try(jobs: list[Job], *, one: bool, json: bool) -> None:
    from muomni_cli.training.dry_run import sum_of
    from muomni_cli.training.stages import try_stages

    tried = try_stages([job for job in jobs if one or (job.stage != "tokenizer" and not job.borrows)])
    if json:
        print_json(tried[0].as_json() if one else [each.as_json() for each in tried])
    else:
        print("\n\n".join([*(each.as_text() for each in tried), *([] if one else [sum_of(tried)])]))


def _check_options(stage: str, jobs: int, *, resume: bool, force: bool, dry_run: bool, json: bool) -> None:
    if resume and force:
        raise RequestError("--resume and --force exclude each other", "choose one")
    if json and not dry_run:
        raise RequestError("--json needs --dry-run", "for the metrics of a run: muomni runs show NAME --json")
    if jobs > 1 and stage != "all":
        fix = f"leave it out, or set train.{stage}.threads={jobs}"
        raise RequestError(f"--jobs needs the stage all, not {stage}", fix)
    if jobs > 1 and force:
        fix = "train another run (--run NAME), or leave --jobs out"
        raise RequestError("--jobs and --force exclude each other", fix)


def _check_devices(devices: int, max_restarts: int, *, jobs: int, dry_run: bool) -> None:
    if devices > 1 and jobs > 1:
        raise RequestError("--devices and --jobs exclude each other", "choose one")
    if devices > 1 and dry_run:
        raise RequestError("--dry-run measures one process", "leave --devices out; docs/scaling.md says what more give")
    if max_restarts and devices < 2:
        raise RequestError("--max-restarts needs --devices", "torchrun has an option of its own: --max-restarts")


def _restarted() -> bool:
    """Whether several processes were started again after a failure, to go on where they were."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _train_distributed(asked: Recipe, stages: list[str], devices: int, max_restarts: int, words: list[str]) -> None:
    """Train in several processes, each started with ``words``."""
    from muomni_cli.training.distributed.launch import launch

    cuda = any(asked.train_for(stage).device in ("auto", "cuda") for stage in stages if stage != "tokenizer")
    again = [word for word in words if word not in ("--force", "--resume", "--profile")]
    command = shlex.join(["muomni", "train", *again, "--devices", str(devices), "--resume"])
    launch(["train", *words], devices, cuda=cuda, max_restarts=max_restarts, again=command)


def _train_parallel(asked: Recipe, cpu_slots: int, words: list[str], typed: list[str]) -> None:
    """Train every stage in its own process, started with ``words``; ``typed``: the user's words, for the resume
    hint."""
    from muomni_cli.recipe.model import stages_of_all, waits_of
    from muomni_cli.training.processes import PROGRAM, Plan, train_parallel

    stages = stages_of_all(asked)
    plan = Plan(stages, waits_of(asked), {stage: asked.train_for(stage).threads for stage in stages}, cpu_slots)
    program = [sys.executable, "-P", "-c", PROGRAM, "train"]
    more = [] if "--resume" in words else ["--resume"]
    again = shlex.join(["muomni", "train", "all", *typed, *more, "--jobs", str(cpu_slots)])
    train_parallel(plan, lambda stage: [*program, stage, *words], again, asked.notes)


def of_stage(words: list[str], stage: str) -> list[str]:
    """Prefix the [train] keys of a stage: ``init=nano`` is ``train.omni.init=nano`` for the stage omni, ``steps=40``
    applies to every stage for ``all``. No recipe has a top-level key of these names."""
    from muomni_cli.recipe.overrides import EVERY_STAGE
    from muomni_cli.recipe.problems import usual
    from muomni_cli.recipe.train_settings import TrainSettings

    own = TrainSettings.model_fields
    table = EVERY_STAGE if stage == "all" else f"train.{stage}"
    keys = [word.partition("=")[0].strip() for word in words]
    # A usual name of another framework gets the prefix, too, so that the error can suggest the right key.
    of_train = [key in own or usual(key, own) is not None for key in keys]
    return [f"{table}.{word}" if ours else word for word, ours in zip(words, of_train, strict=True)]


def _say_next(run: RunFolder, asked: Recipe, recipe: str) -> None:
    """Print the next command: train the next stage, or use the model."""
    from muomni_cli.recipe.model import stages_of_all

    stages = stages_of_all(asked)
    missing = [stage for stage in stages if run.status(stage) != "finished"]
    whole = "finished" in (run.status("omni"), run.status("dpo"))
    if missing and not whole and run.status("talker_dpo") != "finished":
        say(f"next: muomni train {missing[0]} {recipe}")
        return
    prompt = "Once upon a time" if asked.chat.template == "plain" else "Hello"
    if whole and "image" in asked.encoders:
        say(f'next: muomni chat -m {run.name} --image FILE "What do you see?"')
    elif run.status("talker_dpo") != "finished" and (
        "thinker" in stages or whole
    ):  # the Thinker makes a complete model
        say(f'next: muomni chat -m {run.name} "{prompt}"')
    elif "talker" in stages:
        say(f'next: muomni tts -m {run.name} "hello" -o hello.wav')
    elif stages:
        say(f"next: muomni eval {run.name}")
