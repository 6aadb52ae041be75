"""What is exported: the trained parts of a run, or a recipe with random weights. Imports torch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from muomni_cli.api import Codec, EncoderPart, RequestError, VocoderPart
from muomni_cli.core.files import read_json
from muomni_cli.models.engines import ANY_TRAINED, OMNI
from muomni_cli.models.locate import resolve_model
from muomni_cli.models.run_engine import RunEngine, require_made_for, untrained_vocoder
from muomni_cli.models.untrained_engine import SPEECH, UntrainedEngine, recipe_engine, tokenizer_for
from muomni_cli.recipe import load_recipe
from muomni_cli.recipe.write import fingerprint, sources_of
from muomni_cli.runs.checkpoint import build_aside, build_part, load_model, load_part, omni_entries, read_checkpoint
from muomni_cli.runs.run import RUNS, RunFolder, differences, open_entry, part_entry, read_header
from muomni_onnx.graphs import THINKER, Exported, Model, exported, head_of, lesson_of, projection

ALONE = "-alone"
"""After the modality: the encoder as its own stage left it, where the omni stage tuned it further."""


def model_of_recipe(name: str, overrides: Sequence[str] = ()) -> Model:
    """Every part of a recipe, with the weights that its training would begin with.

    Raises:
        RequestError: no such recipe, a mistake in it, or no tokenizer serves it.
    """
    recipe = load_recipe(name, overrides)
    engine = recipe_engine(name, overrides, device="cpu")
    parts, tokenizer = [], None
    if THINKER in engine.parts:
        parts.append(exported(THINKER, engine.parts[THINKER], engine.omni().thinker))
        tokenizer = (engine.tokenizer(), tokenizer_for(recipe)[1])
    torch.manual_seed(recipe.seed)
    parts += [_encoder(engine, modality) for modality in recipe.encoders]
    parts += [exported(part, engine.parts[part], engine.speech_module(part)) for part in SPEECH if part in engine.parts]
    provenance = {"recipe": recipe.name, "recipe_sha256": fingerprint(recipe), "untrained": True, "data": {}}
    return Model(recipe.name, parts, dict(engine.chat), tokenizer, provenance)


def _encoder(engine: UntrainedEngine, modality: str) -> Exported:
    """An encoder with its head, unless that needs data to be built, and with its projector."""
    entry = engine.parts[modality]
    registered, config = open_entry(entry)
    task = lesson_of(registered, config, None)
    if task is None:
        own = exported(modality, entry, build_part(registered, config, entry))
    else:
        own = exported(modality, entry, task.encoder, more=head_of(registered, task))
    if modality not in engine.modalities:
        return own
    projector = projection(cast("Any", engine.omni().projectors[modality]))
    return Exported(modality, entry, own.module, [*own.graphs, *projector])


@dataclass(frozen=True, slots=True)
class Trained:
    """A run, and the checkpoint that was named, if one was: it is used for its stage in place of the best.

    Args:
        label: what the model is called; the run's name if empty.
    """

    run: RunFolder
    named: Path | None = None
    label: str = ""

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.label or self.run.name

    def weights(self, stage: str) -> Path | None:
        """The checkpoint of a stage: the one that was named, else the best, else the last."""
        return RunEngine(self.run, self.named, device="cpu").checkpoint(stage)


def find_trained(spec: str | None = None, runs: Path = RUNS) -> Trained:
    """The run to export; see :func:`muomni_cli.models.locate.resolve_model`.

    Raises:
        RequestError: says what was looked for, and what to train.
    """
    model_ref = resolve_model(spec, replace(ANY_TRAINED, run=True), runs)
    return Trained(model_ref.run(), model_ref.weights, model_ref.installed.part.name if model_ref.installed else "")


def model_of(trained: Trained, *, partial: bool = False) -> Model:
    """Everything that the run has trained, opened on the CPU.

    Args:
        trained: which run.
        partial: leave out a vocoder that is not trained yet.

    Raises:
        RequestError: a broken checkpoint, a missing plugin, parts that do not go together, or nothing is trained.
    """
    thinking = _thinking(trained)
    parts = {part.name: part for part in thinking}
    for stage in trained.run.model()["parts"]:
        if part := _alone(trained, stage, parts.get(stage)):
            parts[part.name] = part
    parts |= {part.name: part for part in _speaking(trained, partial=partial)}
    if not parts:
        raise RequestError(f"run {trained.run.root} has trained nothing yet", f"train it: {_command(trained, 'all')}")
    run = trained.run
    tokenizer = (run.tokenizer(), run.model()["parts"]["tokenizer"]) if THINKER in parts else None
    used = sorted({path for part in parts.values() for path in part.weights})
    return Model(trained.name, list(parts.values()), run.model()["chat"], tokenizer, _provenance(trained, used))


def _thinking(trained: Trained) -> list[Exported]:
    """The Thinker, and the encoders that it was tuned with."""
    run = trained.run
    own, joint = trained.weights(THINKER), trained.weights(OMNI)
    if joint is not None and (trained.named is None or trained.named != own):
        opened = RunEngine(run, joint, device="cpu").omni()
        entries = omni_entries(run)
        modalities = [
            exported(name, entries[name], encoder, joint, more=projection(cast("Any", opened.projectors[name])))
            for name, encoder in opened.encoders.items()
        ]
        return [exported(THINKER, entries[THINKER], opened.thinker, joint), *modalities]
    if own is None:
        return []
    engine = RunEngine(run, own, device="cpu", stage=THINKER)
    return [exported(THINKER, run.model()["parts"][THINKER], engine.omni().thinker, own)]


def _alone(trained: Trained, stage: str, modality: Exported | None) -> Exported | None:
    """What an encoder's own stage trained: the encoder with its head; the head beside ``modality``, the encoder that
    the Thinker was tuned with, where that is still the same; None if there is nothing to add."""
    entry, weights = trained.run.model()["parts"][stage], trained.weights(stage)
    if entry["kind"] != EncoderPart.kind or weights is None:
        return None
    registered, config = open_entry(entry)
    task = lesson_of(registered, config, entry.get("head_metadata", {}))
    if task is None:
        return exported(stage, entry, load_part(entry, weights), weights) if modality is None else None
    load_model(task, read_checkpoint(weights), ema=True)
    head = head_of(registered, task)
    if modality is None:
        return exported(stage, entry, task.encoder, weights, more=head)
    practice = registered.part.config.training_only
    if not differences(modality.entry, entry, practice) and _equal(task.encoder, modality.module):
        head_metadata = {"head_metadata": entry["head_metadata"]} if "head_metadata" in entry else {}
        both = (*modality.weights, weights)
        return Exported(stage, {**modality.entry, **head_metadata}, modality.module, [*modality.graphs, *head], both)
    return exported(f"{stage}{ALONE}", entry, task.encoder, weights, more=head)


def _equal(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules have the same weights."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def _speaking(trained: Trained, *, partial: bool) -> list[Exported]:
    """Codec, Talker and vocoder, as far as they are there."""
    entries = trained.run.model()["parts"]
    there = {
        stage: weights
        for stage in ("codec", "talker", "vocoder")
        if stage in entries and (weights := trained.weights(stage)) is not None
    }
    parts = [exported(stage, entries[stage], load_part(entries[stage], path), path) for stage, path in there.items()]
    if "codec" not in there:
        return parts
    codec = cast("Codec", parts[0].module)
    for stage in there.keys() - {"codec"}:
        require_made_for(trained.run, stage, codec)
    ready = None if "vocoder" in there else _ready_vocoder(trained, codec, needed="talker" in there and not partial)
    return [*parts, ready] if ready is not None else parts


def _ready_vocoder(trained: Trained, codec: Codec, *, needed: bool) -> Exported | None:
    """The recipe's vocoder, if it needs no training.

    Raises:
        RequestError: it does, or there is none, and it is ``needed``.
    """
    try:
        registered, config = untrained_vocoder(trained.run)
    except RequestError:
        if needed:
            raise
        return None
    if registered.part.objective is not None:
        if needed:
            raise RequestError(
                f"the vocoder {registered.use} of run {trained.run.root} is not trained",
                f"train it: {_command(trained, 'vocoder')}; --partial exports the rest",
            )
        return None
    entry = part_entry(registered, config, "", mel=codec.mel.model_dump(mode="json"))
    return exported(VocoderPart.kind, entry, build_aside(registered, config, entry))


def _provenance(trained: Trained, used: list[Path]) -> dict[str, Any]:
    """The run, its recipe, and how far each checkpoint was trained, by which version."""
    run, lock = trained.run, trained.run.root / "lock.json"
    recipe = run.recipe_path
    data: dict[str, Any] = {}
    if recipe.is_file():
        with contextlib.suppress(RequestError):  # a source whose plugin is gone is no reason to export nothing
            data = sources_of(load_recipe(str(recipe)))
    return {
        "run": trained.name,
        "checkpoints": {f"{path.parent.name}/{path.name}": read_header(path)["step"] for path in used},
        "recipe_sha256": hashlib.sha256(recipe.read_bytes()).hexdigest() if recipe.is_file() else None,
        "training_commit": read_json(lock).get("git") if lock.is_file() else None,
        "data": data,
    }


def _command(trained: Trained, stage: str) -> str:
    return f"muomni train {stage} {trained.run.recipe_path}"
