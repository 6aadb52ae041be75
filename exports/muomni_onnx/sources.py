"""What is exported: the engine of a run, or of a recipe with random weights. Imports torch."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch

from muomni_cli.api import EncoderPart, Graph, RequestError, VocoderPart
from muomni_cli.core.files import RUNS
from muomni_cli.models.engines import ANY_TRAINED
from muomni_cli.models.locate import makes_samples, resolve_model
from muomni_cli.models.run_engine import RunEngine, untrained_vocoder
from muomni_cli.models.torch_engine import TorchEngine
from muomni_cli.models.untrained_engine import SPEECH, recipe_engine, tokenizer_for
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.stages import OMNI
from muomni_cli.recipe.write import fingerprint, sources_of
from muomni_cli.registry.entries import differences, open_entry, part_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.checkpoint import build_part, load_part
from muomni_cli.runs.run import RunFolder, read_header, read_lock
from muomni_onnx.graphs import THINKER, Exported, Model, exported, head_of, projection


def model_of_recipe(name: str, overrides: Sequence[str] = ()) -> Model:
    """Every part of a recipe, with random initial weights; an encoder without its head if that depends on data.

    Raises:
        RequestError: there is no such recipe, it has a mistake, or no tokenizer fits it.
    """
    recipe = load_recipe(name, overrides)
    engine = recipe_engine(name, overrides, device="cpu")
    parts = _thinker(engine)
    tokenizer = (engine.tokenizer(), tokenizer_for(recipe)[1]) if parts else None
    torch.manual_seed(recipe.seed)
    for modality in recipe.encoders:
        entry = engine.parts[modality]
        registered, config = open_entry(entry)
        part = cast("EncoderPart", registered.part)
        head: list[Graph] = []
        if part.head_graphs is not None and part.transcribe is not None:  # other heads depend on data
            task = resolve(part.transcribe, f"encoder {part.name}")(config)
            module, head = task.encoder, head_of(registered, task)
        else:
            module = build_part(registered, config, entry)
        parts.append(exported(modality, entry, module, more=[*head, *_projector(engine, modality)]))
    parts += _speech(engine, lambda _: None)
    provenance = {"recipe": recipe.name, "recipe_sha256": fingerprint(recipe), "untrained": True, "data": {}}
    return Model(recipe.name, parts, dict(engine.chat), tokenizer, provenance)


def _thinker(engine: TorchEngine, *weights: Path) -> list[Exported]:
    if THINKER not in engine.parts:
        return []
    return [exported(THINKER, engine.parts[THINKER], engine.omni().thinker, *weights)]


def _projector(engine: TorchEngine, modality: str) -> list[Graph]:
    return projection(cast("Any", engine.omni().projectors[modality])) if modality in engine.modalities else []


def _speech(engine: TorchEngine, weights: Callable[[str], Path | None]) -> list[Exported]:
    """Codec, Talker and vocoder, as far as the engine has them."""
    parts = []
    for part in SPEECH:
        if part in engine.parts:
            module = engine.speech_module(engine.vocoder_name() if part == VocoderPart.kind else part)
            parts.append(exported(part, engine.parts[part], module, *filter(None, [weights(part)])))
    return parts


@dataclass(frozen=True, slots=True)
class Trained:
    """A run to export."""

    run: RunFolder  # with checkpoints
    named: Path | None = None  # the checkpoint to use for its stage, in place of the best
    label: str = ""  # the model's name; the run's if empty

    @property
    def name(self) -> str:
        return self.label or self.run.name

    def engine(self) -> RunEngine:
        return RunEngine(self.run, self.named, device="cpu")


def find_trained(spec: str | None = None, runs: Path = RUNS) -> Trained:
    """The run to export; see :func:`muomni_cli.models.locate.resolve_model`."""
    model_ref = resolve_model(spec, replace(ANY_TRAINED, run=True), runs)
    return Trained(model_ref.run(), model_ref.weights, model_ref.installed.part.name if model_ref.installed else "")


def model_of(trained: Trained, *, partial: bool = False) -> Model:
    """All trained parts of a run, on the CPU.

    Args:
        trained: the run.
        partial: leave out a vocoder that is not trained yet.

    Raises:
        RequestError: a broken checkpoint, a missing plugin, parts that do not fit together, or nothing is trained.
    """
    run, engine = trained.run, trained.engine()
    own, joint = engine.checkpoint(THINKER), engine.checkpoint(OMNI)
    weights = cast("Path", own if joint is None or (trained.named is not None and trained.named == own) else joint)
    found = _thinker(engine, weights)
    for name in engine.modalities:
        encoder, projector = engine.omni().encoders[name], _projector(engine, name)
        found.append(exported(name, engine.parts[name], encoder, weights, more=projector))
    parts = {part.name: part for part in found}
    for stage in run.model()["parts"]:
        if part := _own_encoder(engine, stage, parts.get(stage)):
            parts[part.name] = part
    parts |= {part.name: part for part in _speech(engine, engine.checkpoint)}
    if "codec" in parts and VocoderPart.kind not in parts and not makes_samples(parts["codec"].entry):
        parts |= _ready_vocoder(engine, needed="talker" in parts and not partial)
    if not parts:
        raise RequestError(f"run {run.root} has trained nothing yet", f"train it: muomni train all {run.recipe_path}")
    tokenizer = (engine.tokenizer(), run.model()["parts"]["tokenizer"]) if THINKER in parts else None
    used = sorted({path for part in parts.values() for path in part.weights})
    voices = {name: model_of(Trained(one, label=name)) for name, one in run.voices().items()}
    return Model(trained.name, list(parts.values()), engine.chat, tokenizer, _provenance(trained, used), voices)


def _own_encoder(engine: RunEngine, stage: str, fused: Exported | None) -> Exported | None:
    """An encoder as its own stage trained it, with its head; if ``fused``, the encoder of the omni stage, is the same,
    that one with the head; None if there is nothing to add."""
    entry, weights = engine.run.model()["parts"][stage], engine.checkpoint(stage)
    if entry["kind"] != EncoderPart.kind or weights is None:
        return None
    registered, _ = open_entry(entry)
    if stage not in engine.heads or cast("EncoderPart", registered.part).head_graphs is None:
        return exported(stage, entry, load_part(entry, weights), weights) if fused is None else None
    task = cast("Any", engine.predictor(stage))
    head = head_of(registered, task)
    if fused is None:
        return exported(stage, entry, task.encoder, weights, more=head)
    ours, theirs = task.encoder.state_dict(), fused.module.state_dict()
    equal = ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    if not equal or differences(fused.entry, entry, registered.part.config.training_only):
        return exported(f"{stage}-alone", entry, task.encoder, weights, more=head)
    learned = {"head_metadata": entry["head_metadata"]} if "head_metadata" in entry else {}
    graphs, used = [*fused.graphs, *head], (*fused.weights, weights)
    return replace(fused, entry={**fused.entry, **learned}, graphs=graphs, weights=used)


def _ready_vocoder(engine: RunEngine, *, needed: bool) -> dict[str, Exported]:
    """The recipe's vocoder, if it needs no training. RequestError if there is no such vocoder and it is ``needed``."""
    try:
        name = engine.vocoder_name()
    except RequestError as error:
        if not needed:
            return {}
        fix = f"train it: muomni train vocoder {engine.run.recipe_path}; --partial exports the rest"
        raise RequestError(str(error), fix) from error
    mel = engine.codec().mel.model_dump(mode="json")
    entry = part_entry(*untrained_vocoder(engine.run), "", mel=mel)
    return {VocoderPart.kind: exported(VocoderPart.kind, entry, engine.speech_module(name))}


def _provenance(trained: Trained, used: list[Path]) -> dict[str, Any]:
    run, lock = trained.run, trained.run.root / "lock.json"
    recipe = run.recipe_path
    data: dict[str, Any] = {}
    if recipe.is_file():
        with contextlib.suppress(RequestError):  # a missing plugin of a data source does not stop the export
            data = sources_of(load_recipe(str(recipe)))
    return {
        "run": trained.name,
        "checkpoints": {f"{path.parent.name}/{path.name}": read_header(path)["step"] for path in used},
        "recipe_sha256": hashlib.sha256(recipe.read_bytes()).hexdigest() if recipe.is_file() else None,
        "training_commit": read_lock(lock).get("git") if lock.is_file() else None,
        "data": data,
    }
