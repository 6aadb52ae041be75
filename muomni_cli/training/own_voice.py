"""``muomni train voice``: a new voice from the recordings of one person, by the stages of speech of a trained model.

The voice gets a run of its own with a codec, a vocoder and a Talker, each fine-tuned from that of the model. The model
itself is not touched: all its voices share its codec, whose codes would mean other sounds if it were tuned to one more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.models.locate import ModelRef, model_named
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe, has_stage, parts_of
from muomni_cli.recipe.overrides import EVERY_STAGE
from muomni_cli.recipe.stages import SPEAKING
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.context import aligner_of
from muomni_cli.training.stages import Job
from muomni_cli.voice.clips import (
    KEPT,
    LEFT_OUT,
    ClipChecker,
    ClipReport,
    check_clips,
    clips_source,
    list_reader,
    read_report,
    write_report,
)

CLIPS = "clips"  # folder of a voice's run: its clips, and those that were left out

SETTINGS: dict[str, tuple[str, ...]] = {
    "codec": ("steps=600", "lr=1e-3", "ema=0.98", "val_every=200"),
    "vocoder": ("steps=600", "lr=1e-3", "ema=0.98", "val_every=200"),
    "talker": ("steps=400", "lr=3e-4", "muon_lr=2e-3", "ema=0.95", "val_every=50"),
}
"""Of the stages, before those that the user gives: fewer steps, smaller steps and shorter averages than from random
weights. Half an hour of speech is soon learned by heart, so a Talker validates often: its best checkpoint is used."""

REGULARIZED = {"dropout": 0.3, "input_noise": 0.3}  # settings of a Talker, where it has them
HELD_OUT = 0.2, 100  # most clips to validate on: as a share, and in number


@dataclass(frozen=True, slots=True)
class VoiceRequest:
    """What to train: the folder with clips, the model to start from, the run to write, and the voice's name."""

    folder: Path
    init: str
    run: RunFolder
    voice: str
    overrides: Sequence[str] = ()

    @property
    def command(self) -> str:
        """The command that trains it, for messages."""
        return f"muomni train voice {self.folder} --init {self.init} --run {self.run.name} --voice {self.voice}"

    @property
    def clips(self) -> Path:
        return self.run.root / CLIPS


def base_model(init: str) -> ModelRef:
    """The model to start from, its run. RequestError if it does not speak, or cannot be trained further."""
    found = model_named(init)
    run = found.run()
    missing = [part for part in ("codec", "talker") if part not in run.model()["parts"] or not run.checkpoint(part)]
    if missing:
        raise RequestError(f"{init} has no {missing[0]}, so it does not speak", "start from a model that does: --init")
    if not run.recipe_path.is_file():
        raise RequestError(f"run {run.root} has no recipe.toml", "start from another model: --init")
    return ModelRef(folder=run)


def require_new(request: VoiceRequest, *, resume: bool, force: bool) -> None:
    """RequestError if the run exists and is neither continued nor replaced, or is to be continued and is another
    one's."""
    begun = read_report(request.clips).get("voice")
    if begun is None and request.run.model_path.is_file():
        raise RequestError(f"run {request.run.root} exists and is none of a voice", "name another run: --run NAME")
    if begun is not None and not (resume or force):
        raise RequestError(
            f"run {request.run.root} exists already",
            f"continue it: {request.command} --resume    or start again: {request.command} --force",
        )
    if resume and begun is None:
        raise RequestError(
            f"there is no run {request.run.root} to continue", "start it: the same command without --resume"
        )
    if resume and begun != request.voice:
        raise RequestError(f"run {request.run.root} is that of the voice {begun}", f"continue it with --voice {begun}")


def require_settings(request: VoiceRequest) -> None:
    """RequestError for overrides that the recipe of the model does not take, before anything is read or written."""
    path = str(base_model(request.init).run().recipe_path)
    load_recipe(path, of_voice(request.overrides, voice_stages(load_recipe(path))))


def prepare_clips(request: VoiceRequest, progress: Callable[[str], None] = say) -> ClipReport:
    """Check the clips of the folder, and write which are kept into the run. RequestError as of
    :func:`~muomni_cli.voice.clips.check_clips`, or if the model has no encoder that hears what is said."""
    recipe = load_recipe(str(base_model(request.init).run().recipe_path))
    modality = next((name for name, chosen in recipe.encoders.items() if _aligns(chosen.registered.part)), None)
    if modality is None:
        raise RequestError(f"{request.init} has no ears: no encoder that can align", "start from another model: --init")
    source = clips_source(request.folder)
    aligner, config, _ = aligner_of(request.init, modality, torch.device("cpu"))
    report = check_clips(source, ClipChecker(aligner, int(config.sample_rate)), progress)
    write_report(report, request.clips, request.voice)
    return report


def _aligns(part: object) -> bool:
    return isinstance(part, EncoderPart) and part.align is not None


def describe(report: ClipReport, request: VoiceRequest) -> list[str]:
    """Lines for the user."""
    lines = [f"{len(report.kept):,} of {len(report.clips):,} clips are kept: {report.minutes:.1f} minutes"]
    if report.reasons:
        found = ", ".join(f"{count:,} {reason}" for reason, count in report.reasons.items())
        lines.append(f"left out: {found} (listed in {request.clips / LEFT_OUT})")
    return lines


def voice_recipe(request: VoiceRequest) -> Recipe:
    """The recipe of the run: what the run has, else that of the model with the clips as its speech. RequestError for
    wrong overrides."""
    base = base_model(request.init).run()
    recipe = load_recipe(str(base.recipe_path))
    own = of_voice(request.overrides, voice_stages(recipe))
    if request.run.recipe_path.is_file():
        return load_recipe(str(request.run.recipe_path), own)
    source = {"use": list_reader(), "modality": "audio", "path": str(request.clips / KEPT), "task": request.voice}
    share, most = HELD_OUT
    held_out = min(share, most / max(1, read_report(request.clips)["kept"]))
    words = [f"name={json.dumps(request.run.name)}", f"data.speech=[{_inline(source)}]"]
    words.append(f"data.val_fraction={held_out:.4f}")
    for stage in voice_stages(recipe):
        words += [
            f"train.{stage}.{word}" for word in ("save_every=50", *SETTINGS[stage], f"init={json.dumps(request.init)}")
        ]
    assert recipe.talker is not None, "base_model requires one"
    own_settings = recipe.talker.registered.part.config.model_fields
    words += [f"talker.{name}={value}" for name, value in REGULARIZED.items() if name in own_settings]
    modality = next(name for name, chosen in recipe.encoders.items() if _aligns(chosen.registered.part))
    words.append(f"train.talker.init_encoders={_inline({modality: request.init})}")
    return load_recipe(str(base.recipe_path), [*words, *own])


def _inline(table: dict[str, str]) -> str:
    """An inline table of TOML."""
    return "{" + ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()) + "}"


def voice_stages(recipe: Recipe) -> list[str]:
    """The stages of speech, in order."""
    parts = parts_of(recipe)
    return [stage for stage in SPEAKING if stage in parts and has_stage(stage, parts[stage])]


def of_voice(words: Sequence[str], stages: Sequence[str]) -> list[str]:
    """Overrides of the command: ``steps=40`` applies to each of the stages."""
    found: list[str] = []
    for word in words:
        bare = word.strip().removeprefix(f"{EVERY_STAGE}.")
        of_each = bare.partition("=")[0].strip() in TrainSettings.model_fields
        found += [f"train.{stage}.{bare}" for stage in stages] if of_each else [word]
    return found


def voice_jobs(request: VoiceRequest, recipe: Recipe) -> list[Job]:
    """The stages to train."""
    return [Job(recipe, stage, request.run, request.command) for stage in voice_stages(recipe)]
