"""Facts about a model as plain data: parts, sizes, inputs and outputs, origin. Reads only headers of weight files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError
from muomni_cli.models.engines import OMNI
from muomni_cli.models.locate import ModelRef
from muomni_cli.models.package_run import THINKER, counts, parts_of
from muomni_cli.registry.registry import RegisteredModel, get_registry
from muomni_cli.runs.run import RunFolder, open_entry

SIZES = ("d_model", "n_layers", "ctx_len", "vocab_size")  # settings that describe the size of a part
TEXT, SPEECH = "text", "speech"


def installed_models() -> list[dict[str, Any]]:
    return [declared(registered) for registered in get_registry().models()]


def declared(registered: RegisteredModel) -> dict[str, Any]:
    model, plugin = registered.part, registered.plugin
    paths = {field: getattr(model, field) for field in ("bundle", "run", "card", "scores")}
    return {
        "name": model.name,
        "use": registered.use,
        "doc": model.doc,
        "package": plugin.origin,
        "version": plugin.version,
        "license": model.license,
        **{field: None if path is None else str(path) for field, path in paths.items()},
    }


@dataclass(frozen=True, slots=True)
class Abilities:
    """Inputs and outputs: text, modalities and speech, whether it transcribes (``hears``), voices, and context in
    tokens."""

    takes: tuple[str, ...]
    gives: tuple[str, ...]
    hears: bool
    voices: tuple[str, ...]
    context: int

    @property
    def line(self) -> str:
        """``text, image and audio in, text and speech out``."""
        return f"{listed(self.takes)} in, {listed(self.gives)} out"


def describe(found: ModelRef) -> dict[str, Any]:
    """All facts about a model. RequestError if it is damaged, or a plugin is missing."""
    bundle = found.bundle.open() if found.bundle is not None else None
    able = abilities(found.folder, bundle)
    parts = _of_run(found.folder) if found.folder is not None else []
    if bundle is not None:
        parts += _of_bundle(bundle, known={(part["kind"], part["use"]) for part in parts})
    known = [part["numbers"] for part in parts if part["numbers"]]
    return {
        "does": able.line,
        "takes": list(able.takes),
        "gives": list(able.gives),
        "transcribes": able.hears,
        "voices": list(able.voices),
        "context": able.context or None,
        "parameters": sum(known) or None,
        "parts": parts,
        "stages": _stages(found.folder) if found.folder is not None else {},
        "data": learned_from(found.folder, bundle),
        "run": _folder(found.folder.root) if found.folder is not None else None,
        "bundle": None
        if found.bundle is None or bundle is None
        else _folder(found.bundle.root) | {"runtime": found.bundle.runtime.name, "precision": _precisions(bundle)},
    }


def abilities(run: RunFolder | None, bundle: Engine | None) -> Abilities:
    """The abilities of a model, from its run if there is one, else from its bundle."""
    entries: dict[str, Mapping[str, Any]] = {}
    modalities: list[str] = []
    if run is not None:
        entries = {part: entry for _, part, entry in reversed([*parts_of(run)])}
        modalities = [part for stage, part, _ in parts_of(run) if stage == OMNI and part != THINKER]
    elif bundle is not None:
        entries, modalities = dict(bundle.parts), list(bundle.modalities)
    thinks, speaks = THINKER in entries, entries.keys() >= {"talker", "codec"}
    encoders = [open_entry(entry)[0].part for entry in _with_heads(run, bundle)]
    hears = any(isinstance(part, EncoderPart) and part.transcribe for part in encoders)
    alone = [part.modality for part in encoders if isinstance(part, EncoderPart)]
    takes = [*dict.fromkeys([*([TEXT] if thinks or speaks else []), *(modalities if thinks else []), *alone])]
    gives = ([TEXT] if thinks or hears else []) + ([SPEECH] if speaks else [])
    if not takes:  # a codec, with or without a vocoder
        takes, gives = [SPEECH], [SPEECH]
    voices = entries["talker"].get("voices", []) if speaks else []
    context = int(entries[THINKER]["config"].get("ctx_len", 0)) if thinks else 0
    return Abilities(tuple(takes), tuple(gives or ["answers"]), hears, tuple(voices), context)


def _with_heads(run: RunFolder | None, bundle: Engine | None) -> list[Mapping[str, Any]]:
    if run is not None:
        found = [(stage, entry) for stage, _, entry in parts_of(run) if stage != OMNI]
        return [entry for stage, entry in found if entry["kind"] == EncoderPart.kind and run.checkpoint(stage)]
    return [] if bundle is None else list(bundle.heads.values())


def _of_run(run: RunFolder) -> list[dict[str, Any]]:
    numbers: dict[str, Counter[str]] = {}
    rows = []
    for stage, part, entry in parts_of(run):
        weights = run.checkpoint(stage)
        if weights is not None and stage not in numbers:
            numbers[stage] = counts(weights, 2 if stage == OMNI else 0)
        rows.append(_row(part, stage, entry, _own(numbers.get(stage, Counter()), part, stage)))
    return rows


def _own(numbers: Counter[str], part: str, stage: str) -> int | None:
    """Parameters of one part in a stage's checkpoint, with its projector."""
    if stage != OMNI:
        return numbers[""] or None
    if part == THINKER:
        return sum(count for name, count in numbers.items() if name.split(".")[0] == THINKER)
    return numbers[f"encoders.{part}"] + numbers[f"projectors.{part}"]


def _of_bundle(bundle: Engine, known: Collection[tuple[str, str]]) -> list[dict[str, Any]]:
    new = {name: entry for name, entry in bundle.parts.items() if (entry["kind"], entry["use"]) not in known}
    return [_row(name, "", entry, None) for name, entry in new.items()]


def _row(part: str, stage: str, entry: Mapping[str, Any], numbers: int | None) -> dict[str, Any]:
    sized = {**entry["config"], **{key: entry[key] for key in SIZES if key in entry}}
    return {
        "part": part,
        "stage": stage,
        "kind": entry["kind"],
        "use": entry["use"],
        "plugin": entry["plugin"],
        "numbers": numbers,
        "sizes": {key: sized[key] for key in SIZES if key in sized},
    }


def _stages(run: RunFolder) -> dict[str, dict[str, Any]]:
    return {
        stage: {key: value for key, value in state.items() if key not in ("parts", "updated", "end")}
        for stage, state in run.model()["stages"].items()
    }


def learned_from(run: RunFolder | None, bundle: Engine | None) -> dict[str, list[dict[str, str]]]:
    """The training data by list, as far as it is recorded; empty if a plugin that declares a source is missing."""
    if run is not None and run.recipe_path.is_file():
        from muomni_cli.recipe import load_recipe
        from muomni_cli.recipe.write import sources_of

        with suppress(RequestError):
            return sources_of(load_recipe(str(run.recipe_path)))
    data: dict[str, list[dict[str, str]]] = dict(bundle.provenance.get("data", {})) if bundle is not None else {}
    return data


def _folder(root: Path) -> dict[str, Any]:
    return {"path": str(root), "bytes": size_of(root)}


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def _precisions(bundle: Engine) -> list[str]:
    graphs = [graph for entry in bundle.parts.values() for graph in dict(entry["graphs"]).values()]
    return sorted({str(graph["precision"]) for graph in graphs if isinstance(graph, Mapping) and "precision" in graph})


def listed(words: tuple[str, ...]) -> str:
    """``one, two and three``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
