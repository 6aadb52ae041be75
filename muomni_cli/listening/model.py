"""Which trained encoder transcribes, and opening it. Knows runs and declarations; imports torch only to open one of a
run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.api import EncoderPart, Media, MuomniError, RequestError, Transcriber, Word
from muomni_cli.packed import PackedFolder, ear_of, find_packed
from muomni_cli.registry import resolve
from muomni_cli.runs.find import find_run, require_torch
from muomni_cli.runs.folder import RUNS, RunFolder, open_entry

WEIGHTS = ("best.safetensors", "last.safetensors")
TRAIN = "muomni train audio RECIPE"


@dataclass(frozen=True, slots=True)
class Ear:
    """A trained encoder that transcribes.

    Args:
        part: its declaration.
        config: its own.
        weights: the file or folder that it is opened from.
        open: opens it on a device, with so many CPU threads.
    """

    part: EncoderPart
    config: Any
    weights: Path
    open: Callable[[str, int | None], Transcriber]


@dataclass(frozen=True, slots=True)
class OpenEar:
    """An encoder that transcribes: its declaration, its config, and itself on its device."""

    part: EncoderPart
    config: Any
    transcriber: Transcriber

    def words(self, media: Media, *, beam: int, max_seconds: float) -> Iterator[Word]:
        """The words of a sound of any length, each as soon as it is sure.

        Raises:
            RequestError: it cannot be read, or is longer than ``max_seconds``.
        """
        assert self.part.pieces is not None, "a part that transcribes reads in pieces"
        with media.open() as file:
            pieces = resolve(self.part.pieces)(self.config, file, media.name, max_seconds)
            yield from self.transcriber.stream(pieces, beam=beam)


def find_ear(spec: str | None = None, runs: Path = RUNS) -> Ear:
    """The encoder to use: of ``spec``, else ``$MUOMNI_MODEL``, else the newest under ``runs``.

    Args:
        spec: a folder that a runtime opens, a run folder, the name of one under ``runs``, or a checkpoint file inside
            one.
        runs: where runs lie.

    Raises:
        RequestError: says what was looked for, and what to train.
    """
    packed = find_packed(spec, runs)
    if packed is not None:
        return _packed(packed)
    spec = spec or os.environ.get("MUOMNI_MODEL") or None
    if spec is None:
        return _newest(runs)
    return _only(*find_run(spec, runs, TRAIN))


def open_ear(ear: Ear, device: str = "auto", threads: int | None = None) -> OpenEar:
    """The encoder with its head.

    Raises:
        RequestError: for a broken checkpoint or folder, or a device that is not there.
    """
    return OpenEar(ear.part, ear.config, ear.open(device, threads))


def _packed(folder: PackedFolder) -> Ear:
    modality, part, config = ear_of(folder.open())

    def transcriber(device: str, threads: int | None) -> Transcriber:
        runner: Transcriber = folder.open(device, threads).runner(modality)
        return runner

    return Ear(part, config, folder.root, transcriber)


def _trained(part: EncoderPart, config: Any, weights: Path) -> Ear:
    """Of a run: averaged weights where the checkpoint has them."""

    def transcriber(device: str, threads: int | None) -> Transcriber:
        require_torch(RunFolder(weights.parent.parent))
        from torch import nn

        from muomni_cli.training.checkpoint import load_model, read_checkpoint
        from muomni_cli.training.device import choose_device, set_threads

        set_threads(threads or 0)
        place = choose_device(device)
        assert part.transcribe is not None, "an ear transcribes"
        module = resolve(part.transcribe, f"encoder {part.name}")(config)
        assert isinstance(module, nn.Module)
        load_model(module, read_checkpoint(weights), ema=True)
        opened: Any = module.eval().requires_grad_(False).to(place)
        heard: Transcriber = opened
        return heard

    return Ear(part, config, weights, transcriber)


def _only(run: RunFolder, weights: Path | None) -> Ear:
    """The run's encoder; the one that ``weights`` are of, if they are named."""
    found = [ear for ear in _ears(run) if weights is None or weights.resolve().parent == ear.weights.resolve().parent]
    if not found:
        raise RequestError(
            f"run {run.root} has no trained encoder that transcribes", f"train it: {TRAIN}, or name another run with -m"
        )
    return _trained(found[0].part, found[0].config, weights or found[0].weights)


def _ears(run: RunFolder) -> list[Ear]:
    ears = []
    for stage, entry in run.model()["parts"].items():
        weights = next((path for name in WEIGHTS if (path := run.stage(stage) / name).is_file()), None)
        if entry.get("kind") == EncoderPart.kind and weights is not None:
            registered, config = open_entry(entry)
            if isinstance(registered.part, EncoderPart) and registered.part.transcribe:
                ears.append(_trained(registered.part, config, weights))
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
