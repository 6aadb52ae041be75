"""A training run: its folder, its stages, and ``lock.json``, which records what made it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.contract.data import Dataset
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.checksums import BLANK
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import KEY, RUNS, read_sealed_json, write_sealed_json
from muomni_cli.core.stopping import unfinished
from muomni_cli.recipe.stages import TUNED
from muomni_cli.registry.entries import open_entry
from muomni_cli.registry.registry import RegisteredPart, resolve
from muomni_cli.runs.digests import BLANK as BLANK_TENSORS
from muomni_cli.runs.digests import DIGESTS, TENSORS, covered, digests_of, require_header, way_back

PACKAGES = ("muomni", "torch", "numpy", "tokenizers", "safetensors", "pydantic", "pluggy")
LOCKS_FILES = os.name == "posix"  # without file locks, users must not train one run twice at the same time
BEST, LAST = "best.safetensors", "last.safetensors"  # checkpoints of a stage: of the best validation, of the last step
KEPT = re.compile(r"step-(\d{6,})\.safetensors")  # others that are kept
VOICES = "voices"  # folder in a run with the runs of voices that were added to it
FORMAT = 1  # of checkpoints
ENTRY = "muomni"  # key of the header in a checkpoint's metadata


def make_lock(parts: Iterable[RegisteredPart], *, seed: int, data: Mapping[str, str]) -> dict[str, Any]:
    """The content of ``lock.json``; ``data``: source -> fingerprint."""
    plugins = {part.plugin.name: part.plugin for part in parts}
    packages = {}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            packages[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "plugins": {
            name: {
                "module": plugin.module,
                "origin": plugin.origin,
                "version": plugin.version,
                "sha256": _hash_module(plugin.module),
            }
            for name, plugin in sorted(plugins.items())
        },
        "git": _git(Path(__file__).parent),
        "data": dict(data),
        "seed": seed,
        "command": sys.argv,
    }


def read_lock(path: Path) -> dict[str, Any]:
    """The content of a ``lock.json``. RequestError if it is damaged; one without a checksum is taken as it is."""
    return read_sealed_json(path, "restore it, or remove it: nothing but what it records is lost", lambda: True)


def _hash_module(module: str) -> str | None:
    """SHA-256 of the names and contents of all Python files in the top-level package of ``module``."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(origin.parent)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _git(folder: Path) -> dict[str, Any] | None:
    def ask(*words: str) -> str | None:
        command = ["git", "-C", str(folder), *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    return {"commit": commit, "dirty": bool(ask("status", "--porcelain"))} if commit else None


@dataclass(frozen=True, slots=True)
class OpenedRecipe:
    """A valid recipe, opened. ``sources``: the tables of one list ``[[data.<NAME>]]``, by task, or by number and part.
    ``tokenizer``: the run's trained one, or one that needs no training; else None."""

    name: str
    sources: Mapping[str, Dataset]
    tokenizer: Tokenizer | None


def open_recipe(recipe: str, overrides: Sequence[str] = (), table: str = "text") -> OpenedRecipe:
    """The data and the tokenizer of a recipe.

    Args:
        recipe: a TOML file, or the name of a shipped recipe.
        overrides: ``key=value`` words.
        table: NAME of the list ``[[data.<NAME>]]`` to open.

    Raises:
        RequestError: there is no such recipe or list, or the recipe has errors.
    """
    from muomni_cli.data.sources import open_sources
    from muomni_cli.data.text import known_tokenizer
    from muomni_cli.recipe.load import load_recipe

    loaded = load_recipe(recipe, overrides)
    sources = {source.name: source.dataset for source in open_sources(loaded, table)}
    return OpenedRecipe(loaded.name, sources, known_tokenizer(loaded, RunFolder(RUNS / loaded.name).tokenizer_folder()))


@contextmanager
def stage_lock(root: Path, stage: str = "") -> Iterator[None]:
    """Lock ``root``, or only its folder ``stage``, for this process; creates missing folders, and removes them if left
    empty. RequestError if another process has locked it, a stage in it, or the whole run."""
    folder = root / stage
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(root, shared=bool(stage)), _locked(folder) if stage else nullcontext():
            yield
    finally:
        with suppress(OSError):  # not empty
            for one in missing:
                one.rmdir()


@contextmanager
def run_lock(root: Path) -> Iterator[None]:
    """A short lock, waiting for others, around each change of ``root``'s recipe, lock file and ``model.json``."""
    above = root.resolve().parent
    with suppress(OSError):  # the write that follows reports the error
        above.mkdir(parents=True, exist_ok=True)
    with _locked(above, wait=True):  # not on the run's own folder, which stage_lock locks
        yield


@contextmanager
def _locked(folder: Path, *, shared: bool = False, wait: bool = False) -> Iterator[None]:
    if not (LOCKS_FILES and folder.is_dir()):
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        try:
            fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RequestError(
                f"another process is training into {folder}",
                "wait for it or stop it (Ctrl-C saves), or train another run with --run NAME",
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(descriptor)


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint. RequestError if it is missing, truncated, not muomni's, or of another format."""
    if not path.is_file():
        raise RequestError(f"there is no checkpoint {path}", "check the name, or train the stage that writes it")
    from safetensors import SafetensorError, safe_open  # not at the top: listings import this module

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RequestError(f"{path} is damaged, truncated or not a checkpoint", way_back(path)) from error
    try:
        header = json.loads(metadata[ENTRY])
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"{path} is not a muomni checkpoint",
            "name a file that `muomni train` wrote, or train the stage again with --force",
        ) from error
    if header.get("format") != FORMAT:
        raise RequestError(
            f"{path} has checkpoint format {header.get('format')}, this muomni reads {FORMAT}",
            "use the version of muomni named in the run's lock.json",
        )
    require_header(path)
    assert isinstance(header, dict)
    return header


def checkpoint_metadata(header: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of a safetensors file with this header, for :func:`~muomni_cli.runs.digests.seal_checkpoint`."""
    held = {"format": FORMAT, KEY: BLANK, TENSORS: BLANK_TENSORS}
    named = {name: value for name, value in header.items() if name not in held}
    return {ENTRY: json.dumps(held | named, ensure_ascii=False, default=str)}


def kept_name(step: int) -> str:
    """File name of a checkpoint that is kept besides the last one."""
    return f"step-{step:06}.safetensors"


def kept_checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints of a stage that are kept besides the last one, by step, oldest first."""
    matches = ((KEPT.fullmatch(path.name), path) for path in folder.glob("step-*.safetensors"))
    return dict(sorted((int(match[1]), path) for match, path in matches if match))


class RunFolder:
    """The run in ``root``: its recipe, ``model.json`` and a folder per stage. Creates nothing before writing."""

    def __init__(self, root: Path) -> None:
        self.root, self.recipe_path, self.model_path = root, root / "recipe.toml", root / "model.json"

    @property
    def name(self) -> str:
        return self.root.resolve().name

    def stage(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.root / stage

    @contextmanager
    def new_stage(self, stage: str) -> Iterator[Path]:
        """A temporary folder that replaces the stage's at the end; its process has locked the stage. MuomniError if the
        disk is full."""
        folder = self.stage(stage)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # by a killed process
                shutil.rmtree(left, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(".tmp", f".{folder.name}.", folder.parent))
            unfinished.add(str(temporary))
            try:
                temporary.chmod(0o755)
                yield temporary
                shutil.rmtree(folder, ignore_errors=True)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
                unfinished.discard(str(temporary))
        except OSError as error:
            raise MuomniError(
                f"could not write {folder}: {error.strerror or error}",
                "free some space or check the folder's permissions, then run the same command again",
            ) from error

    def voices(self) -> dict[str, RunFolder]:
        """The runs of the voices that were added to this one, by name."""
        return {path.parent.name: RunFolder(path.parent) for path in sorted((self.root / VOICES).glob("*/model.json"))}

    def checkpoint(self, stage: str) -> Path | None:
        """The checkpoint of a stage: the best, else the last; None if there is none."""
        return next((path for name in (BEST, LAST) if (path := self.stage(stage) / name).is_file()), None)

    def tuned(self, stage: str) -> Path | None:
        """As :meth:`checkpoint`, but the one that its stage on pairs made of it, if there is one."""
        return self.checkpoint(TUNED.get(stage, stage)) or self.checkpoint(stage)

    def model(self) -> dict[str, Any]:
        """The content of ``model.json``: ``name``, ``parts``, ``stages``, ``chat``; empty before the first stage."""
        content = {}
        if self.model_path.is_file():
            fix = "restore it, or remove the run and train it again"
            content = read_sealed_json(self.model_path, fix, lambda: covered(self.model_path, self.root))
        model = {"name": self.name, "parts": {}, "stages": {}, "chat": {}, **content}
        tables = [model["parts"], model["stages"]]
        entries = [entry for table in tables if isinstance(table, dict) for entry in table.values()]
        if not all(isinstance(entry, dict) for entry in (*tables, model["chat"], *entries)):
            raise RequestError(f"{self.model_path} is damaged", "restore it, or remove the run and train it again")
        return model

    def forget(self, stage: str) -> None:
        """Remove a stage: its entry first, so that no entry ever points to missing files."""
        with run_lock(self.root):
            model = self.model()
            for table in ("stages", "parts"):
                model[table].pop(stage, None)
            self._write(model)
        shutil.rmtree(self.stage(stage), ignore_errors=True)

    def record(
        self,
        stage: str,
        status: Mapping[str, Any],
        part: Mapping[str, Any] | None = None,
        chat: Mapping[str, Any] | None = None,
    ) -> None:
        """Merge a stage's status, its part's entry and the chat settings into ``model.json``."""
        with run_lock(self.root):
            model = self.model()
            model["stages"][stage] = {**model["stages"].get(stage, {}), **status, "updated": round(time.time())}
            if part is not None:
                model["parts"][stage] = dict(part)
            if chat is not None:
                model["chat"] = dict(chat)
            if part is not None and stage == "tokenizer":
                model["stages"][stage]["files"] = digests_of(self.stage(stage))
            self._write(model)

    def _write(self, model: Mapping[str, Any]) -> None:
        write_sealed_json(self.model_path, {"format": 1, **model})
        (self.root / DIGESTS).unlink(missing_ok=True)  # it is no longer the run that was packed

    def status(self, stage: str) -> str:
        """``missing``, ``unfinished`` or ``finished``."""
        return str(self.model()["stages"].get(stage, {}).get("status", "missing"))

    def part(self, name: str, command: str) -> tuple[RegisteredPart, Any, dict[str, Any]]:
        """Declaration, config and entry of a trained part. RequestError, naming ``command``, if there is none."""
        entry = self.model()["parts"].get(name)
        if entry is None:
            raise RequestError(f"run {self.root} has no {name} yet", f"train it first: {command}")
        return (*open_entry(entry), entry)

    def tokenizer(self, command: str = "muomni train tokenizer RECIPE") -> Tokenizer:
        """Open the run's tokenizer. RequestError, naming ``command``, if there is none."""
        registered, config, _ = self.part("tokenizer", command)
        if not self.stage("tokenizer").is_dir() or self.status("tokenizer") != "finished":
            raise RequestError(f"the tokenizer of run {self.root} is missing", f"train it: {command}")
        tokenizer: Tokenizer = resolve(registered.part.build)(config, self.tokenizer_folder())
        return tokenizer

    def tokenizer_folder(self) -> Path:
        """The folder of the tokenizer, which may not be trained. RequestError if it is trained, and a file differs."""
        folder, state = self.stage("tokenizer"), self.model()["stages"].get("tokenizer")
        if state is None:
            return folder
        recorded, there = state.get("files"), digests_of(folder)
        if recorded is None and all(covered(folder / name, self.root) for name in there):
            return folder
        for name in sorted((recorded or {}).keys() | there.keys()):
            if (recorded or {}).get(name) != there.get(name):
                raise RequestError(
                    f"{folder / name} is missing, or not as the tokenizer was trained",
                    f"restore it, or train everything again: muomni train all {self.recipe_path} --force",
                )
        return folder
