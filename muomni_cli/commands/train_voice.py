"""``muomni train voice FOLDER --init MODEL``: what :mod:`muomni_cli.commands.train` does for the stage ``voice``."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError

if TYPE_CHECKING:
    from muomni_cli.contract.metrics import MetricResult
    from muomni_cli.recipe.model import Recipe
    from muomni_cli.training.own_voice import VoiceRequest

VOICE = "voice"  # the stage
NAME = "mine"  # of the voice, unless it gets another one
SCORES, PACKAGE = "scores.json", "package"  # in the run
CHECKED = 24  # sentences by which the model's own codec is tried on the voice


def voice_request(folder: str, init: str, run: str, voice: str, overrides: Sequence[str]) -> VoiceRequest:
    """The request of the command. RequestError without a model to start from, or for a name that none can have."""
    from muomni_cli.core.files import RUNS
    from muomni_cli.models.package import NAME as VALID
    from muomni_cli.runs.run import RunFolder
    from muomni_cli.training.own_voice import VoiceRequest

    if not init:
        raise RequestError("a voice starts from a trained model, and none is named", "name one: --init nano")
    voice = voice or NAME
    if not VALID.fullmatch(voice):
        raise RequestError(f"{voice!r} is not a valid name of a voice", "use lowercase letters, digits and -: --voice")
    name = run or Path(folder).resolve().name
    if Path(name).name != name or name in ("", ".", ".."):
        raise RequestError(f"invalid run name: {name!r}", f"give the name of a folder under {RUNS}/: --run NAME")
    return VoiceRequest(Path(folder), init, RunFolder(RUNS / name), voice, tuple(overrides))


def train_voice(request: VoiceRequest, *, resume: bool, force: bool) -> None:
    """Check the clips and the model's codec, train codec, vocoder and Talker, evaluate them, and write a package of the
    model with its new voice; each step continues where it was stopped with ``resume``."""
    from muomni_cli.training.own_voice import (
        base_model,
        describe,
        prepare_clips,
        require_new,
        require_settings,
        voice_jobs,
        voice_recipe,
    )
    from muomni_cli.training.stages import train

    base = base_model(request.init)
    require_new(request, resume=resume, force=force)
    require_settings(request)
    if force:
        shutil.rmtree(request.run.root, ignore_errors=True)
    if not resume:
        for line in describe(prepare_clips(request), request):
            say(line)
    asked = voice_recipe(request)
    for note in asked.notes:
        say(note)
    if not request.run.recipe_path.is_file():
        say(f"how well the codec of {request.init} carries the voice:")
        _show(_evaluated(str(base.run().root), asked, ("codec",), CHECKED))
    jobs = voice_jobs(request, asked)
    steps = ", ".join(f"{job.stage} {asked.train_for(job.stage).steps:,} steps" for job in jobs)
    say(f"training {steps}; each stage shows the time that is left, and Ctrl-C saves")
    train(jobs, resume=resume)
    scores = _scores(request, asked)
    package = _packed(request, str(base.run().root), scores)
    say(f'try it: muomni tts -m {request.run.root} --voice {request.voice} "Hello." -o hello.wav')
    say(f"{request.init} with the new voice beside its own: pip install {package}")
    print(package)


def _evaluated(model: str, asked: Recipe, stages: Sequence[str], limit: int | None) -> list[MetricResult]:
    """Metrics of the run ``model`` on the clips that are held out."""
    from dataclasses import replace

    from muomni_cli.eval.run import EvalOptions, evaluate
    from muomni_cli.models.locate import model_named
    from muomni_cli.recipe.stages import SPEAKING, SPEECH

    parts = {slot: chosen for slot, chosen in asked.parts.items() if slot in SPEAKING}
    data = replace(asked.data, sources={SPEECH: asked.data.sources[SPEECH]})
    asked = replace(asked, parts=parts, encoders={}, data=data)  # nothing else is of interest here
    options = EvalOptions("val", limit, threads=asked.train_for("talker").threads, stages=stages)
    return list(evaluate(model_named(model), asked, options, say))


def _show(metrics: Sequence[MetricResult]) -> None:
    from muomni_cli.contract.metrics import rows

    for row in rows(metrics):
        say("  " + "  ".join(word for word in row if word not in ("", "-")))


def _scores(request: VoiceRequest, asked: Recipe) -> Path:
    """The file with the metrics of the voice, computed now unless it is newer than the Talker."""
    from muomni_cli.contract.metrics import as_json
    from muomni_cli.core.files import write_json

    path = request.run.root / SCORES
    weights = request.run.checkpoint("talker")
    if path.is_file() and weights is not None and path.stat().st_mtime > weights.stat().st_mtime:
        return path
    metrics = _evaluated(str(request.run.root), asked, ("codec", "talker"), None)
    _show(metrics)
    write_json(path, as_json(metrics))
    return path


def _packed(request: VoiceRequest, base: str, scores: Path) -> Path:
    """Write the package anew; returns its folder."""
    from muomni_cli.models.package import PackageOptions, pack

    package = request.run.root / PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    options = PackageOptions(name=_model_name(request), scores=[scores], voices={request.voice: str(request.run.root)})
    pack(base, package, options)
    say(f"wrote {package}")
    return package


def _model_name(request: VoiceRequest) -> str:
    import re

    return re.sub(r"[^a-z0-9]+", "-", request.run.name.lower()).strip("-") or NAME
