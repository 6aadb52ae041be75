"""Resolves a model argument (path, run name or installed model) and the default model."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from muomni_cli.contract.declarations import CodecPart, RuntimePart
from muomni_cli.contract.engine import Engine
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import RUNS
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import RegisteredModel, built_in, did_you_mean, get_registry, resolve
from muomni_cli.runs.digests import DIGESTS, verify
from muomni_cli.runs.run import RunFolder, read_header

VARIABLE = "MUOMNI_MODEL"  # environment variable with the default model


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """A bundle and the runtime that opens it."""

    root: Path
    runtime: RuntimePart

    def open(self, device: str = "auto", threads: int | None = None) -> Engine:
        """Read the manifest; parts are loaded lazily. RequestError if it is damaged or too new."""
        build = resolve(self.runtime.build, f"runtime {self.runtime.name}")
        opened: Engine = build(self.runtime.config(), self.root, device, threads)
        return opened


def bundle_at(root: Path) -> BundleFolder | None:
    """The bundle in ``root``; None if no installed runtime recognizes its marker file."""
    for registered in get_registry().all(RuntimePart.kind):
        assert isinstance(registered.part, RuntimePart), "all parts of that kind are"
        if (root / registered.part.marker).is_file():
            return BundleFolder(root, registered.part)
    return None


@dataclass(frozen=True, slots=True)
class ModelRequirement:
    """What a command needs from a default model."""

    weights: Callable[[RunFolder], Path | None]  # relevant checkpoint of a run (the newest wins); None: unsuitable
    lack: str  # end of the sentence "no run ..." for the error, such as ``is complete``
    train: str = "muomni train all RECIPE"  # the command that trains one
    run: bool = False  # a bundle without a run is unsuitable
    verb: str = ""  # what the model is needed for, such as ``answer``; may be empty


@dataclass(frozen=True, slots=True)
class ModelRef:
    """What a model argument refers to: a bundle, a run (use :meth:`run`) or both; ``weights``: the checkpoint that it
    names."""

    bundle: BundleFolder | None = None
    folder: RunFolder | None = None
    weights: Path | None = None
    installed: RegisteredModel | None = None

    @property
    def name(self) -> str:
        """Its name: as installed, else of the folder."""
        if self.installed is not None:
            return self.installed.use
        return self.folder.name if self.folder is not None else self.bundle.root.resolve().name if self.bundle else ""

    @property
    def spec(self) -> str:
        if self.installed is not None:
            return self.installed.use
        place = self.weights or (self.folder.root if self.folder is not None else self.bundle and self.bundle.root)
        return str(place)

    def run(self) -> RunFolder:
        """The run. RequestError if there is none, or its files differ from their digests."""
        if self.folder is None:
            label = f"the model {self.installed.use}" if self.installed else str(self.bundle and self.bundle.root)
            raise RequestError(
                f"{label} is an exported bundle, and this needs a run", "name the run that it was exported from"
            )
        if self.installed is not None or (self.folder.root / DIGESTS).is_file():
            verify(self.folder.root)
        return self.folder


def resolve_model(spec: str | None, requirement: ModelRequirement, runs: Path = RUNS) -> ModelRef:
    """The model to use: ``spec``, else ``$MUOMNI_MODEL``, else the newest suitable run, else the first installed model,
    built-in ones last. RequestError, naming what was searched, if there is none."""
    return resolve_capable(spec, requirement, frozenset(), runs)


def resolve_capable(
    spec: str | None, requirement: ModelRequirement, abilities: Collection[str], runs: Path = RUNS
) -> ModelRef:
    """As :func:`resolve_model`, but by default the first candidate with all ``abilities`` (modalities, :data:`SPEECH`),
    with a notice if that is not the first. A named model is not checked."""
    spec = spec or os.environ.get(VARIABLE) or None
    if spec is not None:
        return model_named(spec, runs, requirement.train)
    fit = _fit(requirement, runs)
    offers = sorted(get_registry().models(), key=lambda one: one.plugin.origin == "built-in")
    candidates = chain(
        (ModelRef(folder=run) for run in fit), (installed(one) for one in offers if one.part.run or not requirement.run)
    )
    first = next(candidates, None)
    if first is None:
        raise RequestError(
            f"no model was named, {VARIABLE} is not set, no model is installed, and no run under {runs.resolve()} "
            f"{requirement.lack}",
            f"train one ({requirement.train}), or name one with -m",
        )
    lacking = set(abilities) - abilities_of(first) if abilities else set()
    able = next((one for one in candidates if abilities_of(one) >= set(abilities)), None) if lacking else None
    chosen = able or first  # if none can, the first one reports what it lacks
    if lacking and able is not None:
        verbs = " or ".join(sorted((_VERBS.get(one, f"take {one}") for one in lacking), reverse=True))
        _notify(f"{first.name} cannot {verbs} yet: {able.name} {requirement.verb or 'answer'}s")
    elif not fit:
        there = sorted(runs.glob("*/model.json"), key=lambda path: path.stat().st_mtime)
        if there and requirement.verb:
            _notify(f"{there[-1].parent.name} cannot {requirement.verb} yet: {chosen.name} {requirement.verb}s")
        else:
            _notify(f"{'no run here is suitable: ' if there else ''}using the installed model {chosen.name}")
    return chosen


SPEECH = "speech"  # the ability to speak; others are named by their modality
_VERBS = {"image": "see", "audio": "hear", SPEECH: "speak"}


def makes_samples(entry: Mapping[str, Any]) -> bool:
    """Whether an entry is of a codec of waveforms, which needs no vocoder."""
    part = open_entry(entry)[0].part
    return isinstance(part, CodecPart) and part.waveform


def abilities_of(found: ModelRef) -> frozenset[str]:
    """The modalities that a model takes besides text, and :data:`SPEECH` if it speaks. Opens no weights."""
    if found.bundle is not None:
        bundle = found.bundle.open()
        speaks = {"talker", "codec"} <= bundle.parts.keys()
        speaks = speaks and ("vocoder" in bundle.parts or makes_samples(bundle.parts["codec"]))
        return frozenset(bundle.modalities) | ({SPEECH} if speaks else frozenset())
    if found.folder is None:
        return frozenset()
    run, model = found.folder, found.folder.model()
    joint = model["stages"].get("omni", {}).get("parts", {}) if run.checkpoint("omni") else {}
    speaks = all(stage in model["parts"] and run.checkpoint(stage) for stage in ("talker", "codec"))
    return frozenset(joint) - {"thinker"} | ({SPEECH} if speaks else frozenset())


def model_named(spec: str, runs: Path = RUNS, train: str = "muomni train all RECIPE") -> ModelRef:
    """The model that ``spec`` refers to: a folder, a checkpoint in a run, a folder in ``runs``, or an installed model.
    RequestError if there is none (``train``: the command that trains one), or the name is ambiguous."""
    path = Path(spec).expanduser()
    if path.is_file():
        read_header(path)
        return ModelRef(folder=RunFolder(path.resolve().parent.parent), weights=path)
    if found := model_in_folder(spec, runs) or model_of_package(spec):
        return found
    known = sorted(path.parent.name for path in runs.glob("*/model.json"))
    own = [registered.use for registered in get_registry().models()]
    lists = [f"runs here: {', '.join(known)}" if known else f"there are no runs here yet; train one: {train}"]
    lists += [f"installed models: {', '.join(own)}"] if own else []
    raise RequestError(
        f"there is no model {spec!r}: no bundle, run folder, {runs / spec}, checkpoint or installed model"
        f"{get_registry().absences() if ':' in spec else ''}",
        did_you_mean(spec, [*known, *own], "; ".join(lists)),
    )


def model_in_folder(spec: str, runs: Path = RUNS) -> ModelRef | None:
    """The model in the folder ``spec``, or in ``runs / spec``; None if there is none."""
    for root in (Path(spec).expanduser(), runs / spec):
        run = RunFolder(root) if (root / "model.json").is_file() else None
        bundle = bundle_at(root)
        if run or bundle:
            return ModelRef(bundle, run)
    return None


def model_of_package(spec: str) -> ModelRef | None:
    """The installed model ``spec``; None if there is none. RequestError if it is ambiguous."""
    registry = get_registry()
    if spec.rpartition(":")[2] not in {registered.part.name for registered in registry.models()}:
        return None
    return installed(registry.model(spec, built_in))


def installed(registered: RegisteredModel) -> ModelRef:
    """The folders of an installed model. RequestError if it is only a bundle, and its runtime is missing."""
    model = registered.part
    bundle = bundle_at(model.bundle) if model.bundle else None
    if bundle is None and model.run is None:
        raise RequestError(
            f"no runtime here opens the bundle of the model {registered.use}{get_registry().absences()}",
            f"install its runtime, or the package {registered.plugin.origin} again",
        )
    return ModelRef(bundle, RunFolder(model.run) if model.run else None, installed=registered)


def _fit(requirement: ModelRequirement, runs: Path) -> list[RunFolder]:
    """The suitable runs, newest first."""
    found = []
    for path in runs.glob("*/model.json"):
        run = RunFolder(path.parent)
        with suppress(MuomniError):  # a damaged run must not block the others
            if (weights := requirement.weights(run)) is not None:
                found.append((weights.stat().st_mtime, str(run.root)))
    return [RunFolder(Path(root)) for _, root in sorted(found, reverse=True)]


@functools.cache
def _notify(line: str) -> None:
    """Print a line once per process: a command may resolve its model twice."""
    say(line)
