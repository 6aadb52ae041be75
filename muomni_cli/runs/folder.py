"""The run directory: one model on disk, all stages of one recipe. Opens parts through the registry.

``model.json`` says which parts there are (use, plugin, config, where their weights lie) and how far every stage has
come, so that chat and export need no recipe.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json
from muomni_cli.registry.registry import Registered, get_registry, resolve
from muomni_cli.runs.claim import changing

RUNS = Path("runs")
"""Default folder of runs, relative to the working directory."""

BEST, LAST = "best.safetensors", "last.safetensors"
"""Checkpoints in the folder of a stage: of the best validation, and of the last step."""

JOINT = "omni"
"""The stage that tunes the Thinker together with its encoders."""

WEIGHTS = ("best.safetensors", "last.safetensors")
"""Checkpoints of a stage, the better one first."""


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
        with changing(self.root):
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
        with changing(self.root):
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

    def part(self, name: str, command: str) -> tuple[Registered, Any, dict[str, Any]]:
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


def open_entry(entry: Mapping[str, Any]) -> tuple[Registered, Any]:
    """The declaration and config of what :func:`part_entry` described. RequestError if its plugin is missing."""
    registered = get_registry().get(entry["kind"], f"{entry['plugin']}:{entry['use']}")
    return registered, registered.part.config.model_validate(entry["config"])


def _values(table: Any) -> list[Any]:
    return list(table.values()) if isinstance(table, dict) else []


def part_entry(registered: Registered, config: Any, weights: str, **more: Any) -> dict[str, Any]:
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
