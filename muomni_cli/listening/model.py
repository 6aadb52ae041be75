"""Which trained encoder transcribes, and opening it. Knows runs and declarations; imports torch only to open one of a
run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.media import Media
from muomni_cli.contract.models import Transcriber, Word
from muomni_cli.core.errors import RequestError
from muomni_cli.models.bundle import PackedFolder, ear_of
from muomni_cli.models.find import Need, find
from muomni_cli.models.open import require_torch
from muomni_cli.registry.registry import resolve
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
    """The encoder to use, of the model that is meant; see :func:`muomni_cli.models.find.find`.

    Raises:
        RequestError: says what was looked for, and what to train.
    """
    meant = find(spec, HEARS, runs)
    return _packed(meant.bundle) if meant.bundle is not None else _only(meant.run(), meant.weights)


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

        from muomni_cli.layers.device import choose_device, set_threads
        from muomni_cli.runs.checkpoint import load_model, read_checkpoint

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


def _newest(run: RunFolder) -> Path | None:
    return max((ear.weights for ear in _ears(run)), key=lambda weights: weights.stat().st_mtime, default=None)


HEARS = Need(_newest, "has a trained encoder that transcribes", TRAIN, verb="transcribe")
"""A model that transcribes."""
