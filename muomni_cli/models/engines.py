"""Opening a model reference as an :class:`Engine`. PyTorch is imported only for a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.contract.declarations import EncoderPart, PartConfig
from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError, require
from muomni_cli.core.files import RUNS
from muomni_cli.data.media import Modality, modality_of
from muomni_cli.models.locate import ModelRef, ModelRequirement, resolve_capable
from muomni_cli.recipe.stages import OMNI
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import resolve
from muomni_cli.runs.run import RunFolder

if TYPE_CHECKING:
    from muomni_cli.models.run_engine import RunEngine

THINKER = "thinker"


def open_found(found: ModelRef, *, device: str = "auto", threads: int | None = None) -> Engine:
    """The engine of a model reference: the bundle's runtime, else PyTorch. RequestError if it is damaged or the device
    is missing; MuomniError if PyTorch is."""
    if threads is not None and threads < 1:
        raise RequestError(f"threads is {threads}", "threads must be 1 or more")
    if found.bundle is not None:
        return found.bundle.open(device, threads)
    return open_run(found.run(), found.weights, device=device, threads=threads)


def open_run(
    run: RunFolder, weights: Path | None = None, *, device: str = "auto", threads: int | None = None
) -> RunEngine:
    """The engine of a training run; errors as of :func:`open_found`."""
    require(
        f"run {run.root}", "torch", otherwise="or export it where PyTorch is installed, and name the bundle with -m"
    )
    from muomni_cli.models.run_engine import RunEngine

    return RunEngine(run, weights, device=device, threads=threads)


def open_engine(
    spec: str | None,
    requirement: ModelRequirement,
    abilities: Collection[str] = (),
    *,
    device: str = "auto",
    threads: int | None = None,
    runs: Path = RUNS,
) -> Engine:
    """Resolve a model argument and open it; see :func:`muomni_cli.models.locate.resolve_capable` and
    :func:`open_found`. If the requirement is a run, PyTorch is used even if the model has a bundle too."""
    found = resolve_capable(spec, requirement, abilities, runs)
    if requirement.run:
        return open_run(found.run(), found.weights, device=device, threads=threads)
    return open_found(found, device=device, threads=threads)


def modalities_of(engine: Engine) -> dict[str, Modality]:
    """The encoders fused with the Thinker by modality, in the order of their tokens."""
    return {modality: modality_of(*open_entry(engine.parts[modality])) for modality in engine.modalities}


def transcribing(engine: Engine) -> tuple[EncoderPart, PartConfig]:
    """Declaration and config of the encoder behind :meth:`Engine.transcriber`. RequestError if there is none."""
    for entry in engine.heads.values():
        registered, config = open_entry(entry)
        if isinstance(registered.part, EncoderPart) and registered.part.transcribe:
            return registered.part, config
    engine.transcriber()  # raises, naming what is missing
    raise AssertionError("an engine with a transcriber has its head")


def responding(engine: Engine) -> tuple[EncoderPart, PartConfig] | None:
    """Declaration and config of the encoder that answers by itself in a model without a Thinker; None if there is
    none."""
    if "thinker" in engine.parts:
        return None
    return next((found for entry in engine.heads.values() if (found := _responder(entry))), None)


def _responder(entry: Mapping[str, Any]) -> tuple[EncoderPart, PartConfig] | None:
    registered, config = open_entry(entry)
    part = registered.part
    if not isinstance(part, EncoderPart) or part.respond is None:
        return None
    return (part, config) if resolve(part.respond, f"encoder {part.name}")(config) else None


def _chat_weights(run: RunFolder) -> Path | None:
    """Of a Thinker, or of an encoder that answers by itself."""
    parts = run.model()["parts"]
    if "thinker" not in parts:
        found = [
            run.checkpoint(stage)
            for stage, entry in parts.items()
            if entry.get("kind") == EncoderPart.kind and _responder(entry)
        ]
        return next((weights for weights in found if weights is not None), None)
    if run.status("tokenizer") != "finished":
        return None
    return run.tuned(OMNI) or run.checkpoint(THINKER)


def _transcriber_weights(run: RunFolder) -> Path | None:
    found = []
    for stage, entry in run.model()["parts"].items():
        weights = run.checkpoint(stage)
        if entry.get("kind") == EncoderPart.kind and weights is not None:
            part = open_entry(entry)[0].part
            found += [weights] if isinstance(part, EncoderPart) and part.transcribe else []
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _any_weights(run: RunFolder) -> Path | None:
    found = [path for stage in run.model()["stages"] if (path := run.checkpoint(stage)) is not None]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


CAN_CHAT = ModelRequirement(_chat_weights, "is complete", verb="answer")
CAN_SPEAK = ModelRequirement(
    lambda run: run.tuned("talker") if "talker" in run.model()["parts"] else None,
    "has a trained Talker",
    verb="speak",
)
CAN_TRANSCRIBE = ModelRequirement(
    _transcriber_weights, "has a trained encoder that transcribes", "muomni train audio RECIPE", verb="transcribe"
)
ANY_TRAINED = ModelRequirement(_any_weights, "has trained anything")
