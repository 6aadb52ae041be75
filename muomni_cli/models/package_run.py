"""The parts of a trained run: what ``models show`` prints of them, and their copy in a package."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import tomlkit
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, replacing, write_json, write_text
from muomni_cli.models.engines import OMNI
from muomni_cli.models.locate import ModelRef, write_digests
from muomni_cli.registry.registry import RegisteredModel, get_registry
from muomni_cli.runs.run import ENTRY, RunFolder, open_entry, read_header

HOMES = frozenset({"home", "root", "Users", "mnt", "media", "Volumes", "data", "scratch", "tmp"})
"""Usual first folders of local paths. A path under none of these, whose first folder does not exist here (such as the
label ``/m/0dxb5``), is kept."""

PATH = re.compile(r"(?<![\w.~/)}\]])~?/(?:[^\s/\"',;:=]+/)*[^\s/\"',;:=]+")
"""A path within a text; the lookbehind excludes URLs, fractions and ends of relative paths."""

MODEL = "model."

AVERAGE = "ema."

LARGEST = float(np.finfo(np.float16).max)

TOKENIZER = "tokenizer"

THINKER = "thinker"

SIZES = ("d_model", "n_layers", "ctx_len", "vocab_size")  # settings that describe the size of a part

TEXT, SPEECH = "text", "speech"


def redact_paths(value: Any) -> Any:
    """JSON or TOML data with every absolute or home path shortened to its last name."""
    if isinstance(value, dict):
        return {key: redact_paths(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [redact_paths(member) for member in value]
    return _text(value) if isinstance(value, str) else value


def redact_toml(text: str) -> str:
    """:func:`redact_paths` for a TOML document; comments and layout are kept."""
    document = tomlkit.parse(text)
    _strip(document)
    return tomlkit.dumps(document)


def _strip(container: Any) -> None:
    """In place, so that tables keep their kind."""
    places = list(container) if isinstance(container, MutableMapping) else range(len(container))
    for place in places:
        value = container[place]
        if isinstance(value, MutableMapping | list):
            _strip(value)
        elif (short := redact_paths(value)) != value:
            container[place] = short


def _text(text: str) -> str:
    if PureWindowsPath(text).drive and PureWindowsPath(text).is_absolute():
        return PureWindowsPath(text).name or text
    if "\n" not in text and _is_local(text):
        return PurePosixPath(text).name
    return PATH.sub(lambda match: PurePosixPath(match[0]).name if _is_local(match[0]) else match[0], text)


def _is_local(path: str) -> bool:
    """Whether it looks like a path on this machine, or a similar one."""
    parts = PurePosixPath(path).parts
    if len(parts) > 1 and parts[0] == "~":
        return True
    return len(parts) > 2 and parts[0] == "/" and (parts[1] in HOMES or Path("/", parts[1]).exists())


def copy_weights(source: Path, target: Path, *, half: bool) -> None:
    """Write the model of a checkpoint to ``target``, averaged if possible; with ``half``, as fp16 where values fit.
    RequestError if it is damaged; MuomniError if the disk is full."""
    header = redact_paths(read_header(source))
    with safe_open(source, framework="numpy") as file:
        names = set(file.keys())
        tensors = {
            name: file.get_tensor(average if (average := AVERAGE + name.removeprefix(MODEL)) in names else name)
            for name in sorted(names)
            if name.startswith(MODEL)
        }
    if half:
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    with replacing(target) as temporary:
        save_file(tensors, temporary, {ENTRY: json.dumps(header, ensure_ascii=False)})


def _halved(tensor: NDArray[Any]) -> NDArray[Any]:
    small = tensor.dtype == np.float32 and (not tensor.size or float(np.abs(tensor).max()) <= LARGEST)
    return tensor.astype(np.float16) if small else tensor


def counts(checkpoint: Path, depth: int = 0) -> Counter[str]:
    """Parameters of a checkpoint's model, by the first ``depth`` words of their names; reads only the header."""
    read_header(checkpoint)
    found: Counter[str] = Counter()
    with safe_open(checkpoint, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118 - not a mapping
            if name.startswith(MODEL):
                shape = file.get_slice(name).get_shape()
                found[".".join(name.split(".")[1 : 1 + depth])] += int(np.prod(shape, dtype=np.int64))
    return found


def weights_of(run: RunFolder, without: Collection[str] = ()) -> dict[str, Path]:
    """The checkpoint of every stage to package, except the Thinker's own stage if omni has tuned it.

    ``without``: encoders whose own stages are omitted: after omni, only transcripts and evaluation use their heads.

    Raises:
        RequestError: nothing is trained, a stage is unfinished or has no weights, or one cannot be omitted.
    """
    found = {}
    stages = run.model()["stages"]
    tuned = stages.get(OMNI, {}).get("parts", {}).keys() - {THINKER}
    if fixed := sorted(set(without) - tuned):
        raise RequestError(
            f"{fixed[0]} cannot be left out of {run.root}",
            f"leave out encoders that omni has tuned: {', '.join(sorted(tuned)) or 'there are none'}",
        )
    for stage in stages:
        if stage == TOKENIZER or stage in without or (stage == THINKER and OMNI in stages):
            continue
        weights = run.checkpoint(stage)
        if run.status(stage) != "finished" or weights is None:
            raise RequestError(
                f"{stage} of run {run.root} is unfinished or has no weights",
                f"finish it: muomni train {stage} {run.recipe_path} --run {run.name} --resume",
            )
        found[stage] = weights
    if not found:
        raise RequestError(f"run {run.root} has no trained stage yet", f"train it: muomni train all {run.recipe_path}")
    if {THINKER, OMNI} & found.keys() and run.status(TOKENIZER) != "finished":
        raise RequestError(f"run {run.root} has no tokenizer", f"train it: muomni train tokenizer {run.recipe_path}")
    return found


def pack_run(run: RunFolder, target: Path, *, half: bool, without: Collection[str] = ()) -> None:
    """Write the packaged form of ``run`` to a new folder; ``without`` and errors as of :func:`weights_of`."""
    weights = weights_of(run, without)
    for stage, path in weights.items():
        copy_weights(path, target / stage / path.name, half=half)
    if run.status(TOKENIZER) == "finished":
        shutil.copytree(run.stage(TOKENIZER), target / TOKENIZER)
    if run.recipe_path.is_file():
        write_text(target / run.recipe_path.name, redact_toml(run.recipe_path.read_text(encoding="utf-8")))
    if (run.root / "lock.json").is_file():
        write_json(target / "lock.json", redact_paths(read_json(run.root / "lock.json")))
    write_json(target / run.model_path.name, _description(run, weights))
    write_digests(target)


def _description(run: RunFolder, weights: dict[str, Path]) -> dict[str, Any]:
    model: dict[str, Any] = redact_paths(run.model())
    model["stages"] = {stage: state for stage, state in model["stages"].items() if stage in {TOKENIZER, *weights}}
    for stage, entry in model["parts"].items():
        if stage != TOKENIZER:  # its folder is copied unchanged
            entry["weights"] = f"{stage}/{weights[stage].name}" if stage in weights else ""
    return model


def parts_of(run: RunFolder) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(stage, part, entry of ``model.json``): first the parts of the omni stage, then those with their own stage."""
    model = run.model()
    joint = model["stages"].get(OMNI, {}).get("parts", {})
    for name, entry in joint.items():
        yield OMNI, name, entry
    for stage, entry in model["parts"].items():
        if stage != THINKER or THINKER not in joint:
            yield stage, stage, entry


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
