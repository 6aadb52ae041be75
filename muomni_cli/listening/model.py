"""Which trained encoder transcribes, and opening it. Knows runs and declarations; imports torch only to open one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.api import EncoderPart, FileMedia, MuomniError, RequestError, Transcriber, Word
from muomni_cli.registry import resolve
from muomni_cli.runs.find import find_run
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry

WEIGHTS = ("best.safetensors", "last.safetensors")
TRAIN = "muomni train audio RECIPE"


@dataclass(frozen=True, slots=True)
class Ear:
    """A trained encoder that transcribes: its declaration and config, and the weights to use."""

    part: EncoderPart
    config: Any
    weights: Path


@dataclass(frozen=True, slots=True)
class OpenEar:
    """An :class:`Ear` with its transcriber, on its device."""

    ear: Ear
    transcriber: Transcriber

    def words(self, path: Path, *, beam: int, max_seconds: float) -> Iterator[Word]:
        """The words of a file of any length, each as soon as it is sure.

        Raises:
            RequestError: it cannot be read, or is longer than ``max_seconds``.
        """
        part = self.ear.part
        assert part.pieces is not None, "a part that transcribes reads in pieces"
        media = FileMedia(part.modality, path)
        with media.open() as file:
            pieces = resolve(part.pieces)(self.ear.config, file, media.name, max_seconds)
            yield from self.transcriber.stream(pieces, beam=beam)


def find_ear(spec: str | None = None, runs: Path = RUNS) -> Ear:
    """The encoder to use: of ``spec``, else ``$MUOMNI_MODEL``, else the newest under ``runs``.

    Args:
        spec: a run folder, the name of one under ``runs``, or a checkpoint file inside one.
        runs: where runs lie.

    Raises:
        RequestError: says what was looked for, and what to train.
    """
    spec = spec or os.environ.get("MUOMNI_MODEL") or None
    if spec is None:
        return _newest(runs)
    return _only(*find_run(spec, runs, TRAIN))


def open_ear(ear: Ear, device: str = "auto") -> OpenEar:
    """The encoder with its head, averaged weights where the checkpoint has them.

    Raises:
        RequestError: for a broken checkpoint, or a device that is not there.
    """
    from torch import nn

    from muomni_cli.training.checkpoint import load_model, read_checkpoint
    from muomni_cli.training.device import choose_device

    place = choose_device(device)
    assert ear.part.transcribe is not None, "an ear transcribes"
    module = resolve(ear.part.transcribe, f"encoder {ear.part.name}")(ear.config)
    assert isinstance(module, nn.Module)
    load_model(module, read_checkpoint(ear.weights), ema=True)
    transcriber: Any = module.eval().requires_grad_(False).to(place)
    return OpenEar(ear, transcriber)


def _only(run: RunFolder, weights: Path | None) -> Ear:
    """The run's encoder; the one that ``weights`` are of, if they are named."""
    found = [ear for ear in _ears(run) if weights is None or weights.resolve().parent == ear.weights.resolve().parent]
    if not found:
        raise RequestError(
            f"run {run.root} has no trained encoder that transcribes", f"train it: {TRAIN}, or name another run with -m"
        )
    return Ear(found[0].part, found[0].config, weights or found[0].weights)


def _ears(run: RunFolder) -> list[Ear]:
    ears = []
    for stage, entry in run.model()["parts"].items():
        weights = next((path for name in WEIGHTS if (path := run.stage(stage) / name).is_file()), None)
        if entry.get("kind") == EncoderPart.kind and weights is not None:
            registered, config = open_entry(entry)
            if isinstance(registered.part, EncoderPart) and registered.part.transcribe:
                ears.append(Ear(registered.part, config, weights))
    return ears


def _newest(runs: Path) -> Ear:
    found: list[Ear] = []
    for path in runs.glob("*/model.json"):
        try:
            found += _ears(RunFolder(path.parent))
        except MuomniError:  # a damaged neighbour is no reason to refuse the others
            continue
    if not found:
        raise RequestError(
            "no model was named, MUOMNI_MODEL is not set, and no run under "
            f"{runs.resolve()} has a trained encoder that transcribes",
            f"train one ({TRAIN}), or name one with -m",
        )
    return max(found, key=lambda ear: (ear.weights.stat().st_mtime, str(ear.weights)))
