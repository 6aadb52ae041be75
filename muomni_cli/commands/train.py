"""``muomni train STAGE RECIPE``: parses, calls, prints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from muomni_cli.console import print_json, say
from muomni_cli.errors import RequestError

if TYPE_CHECKING:
    from muomni_cli.runs.folder import RunFolder


def train(
    stage: Annotated[str, typer.Argument(help="tokenizer, thinker, ... or all.")],
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a name from `muomni recipes list`.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Changes to the recipe, as TOML values; those of the stage's own training by name alone: steps=100.",
        ),
    ] = None,
    run: Annotated[str, typer.Option(metavar="NAME", help="The run's folder under runs/; the recipe's name.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Continue with the run's own recipe.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train the stage again; its old files are removed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try one step, print its cost, write nothing.")] = False,
    json: Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")] = False,
) -> None:
    """Train one stage of a recipe, or all of them."""
    if resume and force:
        raise RequestError("--resume continues and --force begins again", "choose one of them")
    if json and not dry_run:
        raise RequestError("--json belongs to --dry-run", "metrics of a run: muomni runs show NAME --json")
    # Batches are made beside the steps, by numpy: small products, whose threads would only get in torch's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is there
    from muomni_cli.recipe import load_recipe
    from muomni_cli.recipe.stages import stages_of_all
    from muomni_cli.runs.folder import RUNS, RunFolder
    from muomni_cli.training.stages import Job, try_stage
    from muomni_cli.training.stages import train as train_stages

    words = of_stage(overrides or [], stage)
    asked = load_recipe(recipe, words)
    name = run or asked.name
    if name in ("", ".", "..") or Path(name).name != name:
        raise RequestError(f"{name!r} is no name for a run", f"a run is a folder under {RUNS}/: --run NAME")
    folder = RunFolder(RUNS / name)
    if resume:
        if not folder.recipe_path.is_file():
            raise RequestError(f"there is no run {folder.root} to continue", "begin it: the same without --resume")
        asked = load_recipe(str(folder.recipe_path), words)
    options = f" --run {run}" if run else ""
    jobs = [
        Job(asked, one, folder, f"muomni train {one} {recipe}{options}")
        for one in (stages_of_all(asked) if stage == "all" else [stage])
    ]
    if dry_run:
        tried = [try_stage(job) for job in jobs if stage != "all" or job.stage != "tokenizer"]
        if json:
            print_json([one.as_json() for one in tried] if stage == "all" else tried[0].as_json())
        else:
            print("\n\n".join(one.as_text() for one in tried))
        return
    train_stages(jobs, resume=resume, force=force)
    _say_next(folder, stages_of_all(asked), f"{recipe}{options}")


def of_stage(words: list[str], stage: str) -> list[str]:
    """``init=nano`` is ``train.omni.init=nano`` where omni is trained: no recipe has a key of that name on top."""
    from muomni_cli.recipe.settings import TrainSettings

    own = TrainSettings.model_fields if stage != "all" else {}
    return [f"train.{stage}.{word}" if word.partition("=")[0].strip() in own else word for word in words]


def _say_next(run: RunFolder, stages: list[str], recipe: str) -> None:
    missing = [stage for stage in stages if run.status(stage) != "finished"]
    if missing and run.status("omni") != "finished":
        say(f"next: muomni train {missing[0]} {recipe}")
    elif "thinker" in stages or run.status("omni") == "finished":  # that makes a whole model, whatever it began from
        say(f"next: muomni chat -m {run.name}")
    elif "talker" in stages:
        say(f'next: muomni tts -m {run.name} "hello" -o hello.wav')
