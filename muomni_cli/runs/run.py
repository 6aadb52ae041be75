"""The run directory: one model on disk, all stages of one recipe, locked by the process that trains it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import Codec, CodeShape, MelConfig
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json
from muomni_cli.registry.registry import RegisteredPart, get_registry, resolve

LOCKS_FILES = os.name == "posix"
"""Elsewhere two trainings of one run are the user's to avoid."""

FORMAT = 1

ENTRY = "muomni"

ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "vocab_size": int,
    "mel": MelConfig.model_validate,
    "codes": lambda shape: CodeShape(**shape),
    "voices": tuple,
    "thinker_width": int,
}
"""Name of an argument -> how it is made of what stands there."""

RUNS = Path("runs")
"""Default folder of runs, relative to the working directory."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""Checkpoints in the folder of a stage: of the best validation, and of the last step."""

FUSION_GRAPHS = "omni"
"""The stage that tunes the Thinker together with its encoders."""

WEIGHTS = ("best.safetensors", "last.safetensors")
"""Checkpoints of a stage, the better one first."""


@contextmanager
def stage_lock(root: Path, stage: str = "") -> Iterator[None]:
    """``root``, or of it only the folder ``stage``, belongs to this process meanwhile; what is not there is made for
    that, and removed again if nothing was put into it.

    Raises:
        RequestError: another process has it, or a part of it, or all of it.
    """
    folder = root / stage
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(root, shared=bool(stage)), _held(folder) if stage else nullcontext():
            yield
    finally:
        with suppress(OSError):  # one that is not empty stays, and with it all above
            for one in missing:
                one.rmdir()


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """For the moment that it takes to change what describes ``root``: others that want to are kept waiting."""
    above = root.resolve().parent
    with suppress(OSError):  # whoever writes there says what is wrong
        above.mkdir(parents=True, exist_ok=True)
    if not (LOCKS_FILES and above.is_dir()):
        yield
        return
    with _locked(above, shared=False, wait=True):  # not on the run's own folder: a claim lies there
        yield


@contextmanager
def _held(folder: Path, *, shared: bool = False) -> Iterator[None]:
    if not LOCKS_FILES:
        yield
        return
    with _locked(folder, shared=shared, wait=False):
        yield


@contextmanager
def _locked(folder: Path, *, shared: bool, wait: bool) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder, shared=shared, wait=wait)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, *, shared: bool, wait: bool) -> None:
    import fcntl

    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RequestError(
            f"another process is training into {folder}",
            "wait for it or stop it (Ctrl-C saves), or train another run with --run NAME",
        ) from error
    except OSError:  # a file system that knows no claims
        return


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        RequestError: if the file is missing, cut short, not ours, or of a format that this version does not read.
    """
    if not path.is_file():
        raise RequestError(f"there is no checkpoint {path}", "check the name, or train the stage that writes it")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RequestError(
            f"{path} is damaged, cut short or no checkpoint at all",
            "name another checkpoint with -m, or train the stage again with --force",
        ) from error
    try:
        header = json.loads(metadata[ENTRY])
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"{path} is no checkpoint of muomni",
            "name a file that `muomni train` wrote, or train the stage again with --force",
        ) from error
    if header.get("format") != FORMAT:
        raise RequestError(
            f"{path} has checkpoint format {header.get('format')}, this muomni reads {FORMAT}",
            "use the version of muomni named in the run's lock.json",
        )
    assert isinstance(header, dict)
    return header


def build_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``build`` that an entry of ``model.json`` holds."""
    return {name: make(entry[name]) for name, make in ARGUMENTS.items() if name in entry}


def run_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``runner`` besides the config and the graphs."""
    head_metadata = {"head_metadata": entry.get("head_metadata", {})} if entry["kind"] == EncoderPart.kind else {}
    return build_arguments(entry) | head_metadata


def code_shape(codec: Codec) -> CodeShape:
    """What a Talker must know of ``codec``."""
    return CodeShape(codec.codebooks, codec.codebook_size, codec.frame * codec.mel.hop / codec.mel.sample_rate)


class RunFolder:
    """``root`` and what is in it. Nothing is created before something is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.root.resolve().name

    @property
    def recipe_path(self) -> Path:
        """The resolved recipe."""
        return self.root / "recipe.toml"

    @property
    def model_path(self) -> Path:
        """``model.json``."""
        return self.root / "model.json"

    def stage(self, stage: str) -> Path:
        """The folder of one stage."""
        return self.root / stage

    def checkpoint(self, stage: str) -> Path | None:
        """The checkpoint of a stage that others use: the best, else the last; None before the first."""
        return next((path for name in (BEST, LAST) if (path := self.stage(stage) / name).is_file()), None)

    def model(self) -> dict[str, Any]:
        """What ``model.json`` holds: ``name``, ``parts``, ``stages``, ``chat``; empty ones before the first stage."""
        content = read_json(self.model_path) if self.model_path.is_file() else {}
        model = {"name": self.name, "parts": {}, "stages": {}, "chat": {}, **content}
        entries = [*_values(model["parts"]), *_values(model["stages"])]
        if not all(isinstance(entry, dict) for entry in (model["parts"], model["stages"], model["chat"], *entries)):
            raise RequestError(f"{self.model_path} is damaged", "restore it, or remove the run and train it again")
        return model

    def forget(self, stage: str) -> None:
        """Remove a stage: its entry first, so that nothing ever points to files that are gone."""
        with run_lock(self.root):
            model = self.model()
            for table in ("stages", "parts"):
                model[table].pop(stage, None)
            write_json(self.model_path, {"format": 1, **model})
        shutil.rmtree(self.stage(stage), ignore_errors=True)

    def record(
        self,
        stage: str,
        status: Mapping[str, Any],
        part: Mapping[str, Any] | None = None,
        chat: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge a stage's state, its part's description and the chat settings into ``model.json``."""
        with run_lock(self.root):
            model = self.model()
            model["stages"][stage] = {**model["stages"].get(stage, {}), **status, "updated": round(time.time())}
            if part is not None:
                model["parts"][stage] = dict(part)
            if chat is not None:
                model["chat"] = dict(chat)
            write_json(self.model_path, {"format": 1, **model})

    def status(self, stage: str) -> str:
        """``missing``, ``unfinished`` or ``finished``."""
        return str(self.model()["stages"].get(stage, {}).get("status", "missing"))

    def part(self, name: str, command: str) -> tuple[RegisteredPart, Any, dict[str, Any]]:
        """A trained part's declaration, its config and its entry in ``model.json``.

        Raises:
            RequestError: if the run has no such part; ``command`` is what makes it.
        """
        entry = self.model()["parts"].get(name)
        if entry is None:
            raise RequestError(f"run {self.root} has no {name} yet", f"train it first: {command}")
        return (*open_entry(entry), entry)

    def tokenizer(self, command: str = "muomni train tokenizer RECIPE") -> Tokenizer:
        """Open the run's tokenizer.

        Raises:
            RequestError: if there is none; ``command`` is what makes it.
        """
        registered, config, entry = self.part("tokenizer", command)
        if not self.stage("tokenizer").is_dir() or self.status("tokenizer") != "finished":
            raise RequestError(f"the tokenizer of run {self.root} is not there", f"train it: {command}")
        tokenizer: Tokenizer = resolve(registered.part.build)(config, self.root / entry["weights"])
        return tokenizer


def open_entry(entry: Mapping[str, Any]) -> tuple[RegisteredPart, Any]:
    """The declaration and config of what :func:`part_entry` described. RequestError if its plugin is missing."""
    registered = get_registry().get(entry["kind"], f"{entry['plugin']}:{entry['use']}")
    return registered, registered.part.config.model_validate(entry["config"])


def _values(table: Any) -> list[Any]:
    return list(table.values()) if isinstance(table, dict) else []


def part_entry(registered: RegisteredPart, config: Any, weights: str, **more: Any) -> dict[str, Any]:
    """What ``model.json`` and checkpoints say of a part."""
    return {
        "kind": registered.part.kind,
        "use": registered.part.name,
        "plugin": registered.plugin.name,
        "config": config.model_dump(mode="json", by_alias=True),
        "weights": weights,
        **more,
    }


def differences(held: Mapping[str, Any], named: Mapping[str, Any], besides: frozenset[str] = frozenset()) -> list[str]:
    """Where two descriptions of a part differ: ``kind``, ``use`` or ``plugin``, else the names of its settings, but for
    those in ``besides``."""
    changed = [key for key in ("kind", "use", "plugin") if held[key] != named[key]]
    if changed:
        return changed
    one, other = held["config"], named["config"]
    return sorted(key for key in (one.keys() | other.keys()) - besides if one.get(key) != other.get(key))
