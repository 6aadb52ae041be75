"""The parts of a trained run: what ``models show`` prints of them, and their copy in a package."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any

import numpy as np
import tomlkit
from safetensors import safe_open
from safetensors.numpy import save_file

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.engine import Engine
from muomni_cli.core.checksums import COMMENT, sealed, toml_text
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing, write_bytes, write_sealed_json
from muomni_cli.models.locate import ModelRef
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.stages import DPO, OMNI, TUNED
from muomni_cli.recipe.write import sources_of
from muomni_cli.registry.entries import open_entry
from muomni_cli.runs.digests import require_tensors, seal_checkpoint, write_digests
from muomni_cli.runs.references import KEY
from muomni_cli.runs.run import VOICES, RunFolder, checkpoint_metadata, read_header, read_lock

HOMES = frozenset({"home", "root", "Users", "mnt", "media", "Volumes", "data", "scratch", "tmp"})
"""Usual first folders of local paths. A path under none of these, whose first folder does not exist here (such as the
label ``/m/0dxb5``), is kept."""

PATH = re.compile(r"(?<![\w.~/)}\]])~?/(?:[^\s/\"',;:=]+/)*[^\s/\"',;:=]+")
"""A path within a text; the lookbehind excludes URLs, fractions and ends of relative paths."""

MODEL, AVERAGE = "model.", "ema."  # prefixes of tensor names in a checkpoint
TOKENIZER, THINKER = "tokenizer", "thinker"
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
    header = read_header(source)
    require_tensors(source, header)
    with safe_open(source, framework="numpy") as file:
        names = set(file.keys())
        tensors = {
            name: file.get_tensor(average if (average := AVERAGE + name.removeprefix(MODEL)) in names else name)
            for name in sorted(names)
            if name.startswith(MODEL)
        }
    largest = float(np.finfo(np.float16).max)
    for name, tensor in tensors.items():
        if half and tensor.dtype == np.float32 and (not tensor.size or float(np.abs(tensor).max()) <= largest):
            tensors[name] = tensor.astype(np.float16)
    with replacing(target) as temporary:
        save_file(tensors, temporary, checkpoint_metadata(redact_paths(header)))
        seal_checkpoint(temporary)


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
    """The checkpoint of every stage to package, except the Thinker's own stage if omni has tuned it. RequestError if
    nothing is trained, a stage is unfinished or has no weights, or one cannot be omitted.

    ``without``: encoders whose own stages are omitted: after omni, only transcripts and evaluation use their heads.
    """
    found = {}
    stages = run.model()["stages"]
    tuned = stages.get(_joint(run), {}).get("parts", {}).keys() - {THINKER}
    if fixed := sorted(set(without) - tuned):
        raise RequestError(
            f"{fixed[0]} cannot be left out of {run.root}",
            f"leave out encoders that omni has tuned: {', '.join(sorted(tuned)) or 'there are none'}",
        )
    for stage in stages:
        if stage == TOKENIZER or stage in without or _superseded(stage, stages):
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
    if {THINKER, OMNI, DPO} & found.keys() and run.status(TOKENIZER) != "finished":
        raise RequestError(f"run {run.root} has no tokenizer", f"train it: muomni train tokenizer {run.recipe_path}")
    return found


def _superseded(stage: str, stages: Collection[str]) -> bool:
    """Whether what a stage trained is in the run as another one tuned it."""
    return TUNED.get(stage) in stages or (stage == THINKER and bool({OMNI, DPO} & {*stages}))


def _joint(run: RunFolder) -> str:
    """The stage that trained the Thinker last, if that is not its own."""
    return DPO if DPO in run.model()["stages"] else OMNI


def require_voice(run: RunFolder, name: str, base: RunFolder) -> None:
    """RequestError unless ``run`` speaks with the voice ``name``, and it can be added to the model ``base``."""
    entries = run.model()["parts"]
    missing = next((part for part in ("codec", "talker") if part not in entries or run.tuned(part) is None), None)
    if missing is not None:
        raise RequestError(f"run {run.root} has no trained {missing}", "name a run that muomni train voice made")
    names = list(entries["talker"].get("voices", []))
    if name not in names:
        raise RequestError(f"run {run.root} has no voice {name!r}", f"its voices: {', '.join(names) or 'one unnamed'}")
    if name in [*base.model()["parts"].get("talker", {}).get("voices", []), *base.voices()]:
        raise RequestError(f"{base.root} has a voice {name!r} already", "train the new one under another name")


def pack_run(
    run: RunFolder,
    target: Path,
    *,
    half: bool,
    without: Collection[str] = (),
    voices: Mapping[str, RunFolder] = MappingProxyType({}),
) -> None:
    """Write the packaged form of ``run`` to a new folder, with its voices and further ones; ``without`` and errors as
    of :func:`weights_of`."""
    weights = weights_of(run, without)
    for stage, name, entry in parts_of(run):
        if KEY in entry and stage in weights:
            raise RequestError(
                f"{name} of run {run.root} refers to the weights in {entry[KEY]['folder']}, which a package cannot do",
                f"package the exported model, which holds them: muomni export --onnx -m {run.name}",
            )
    for stage, path in weights.items():
        copy_weights(path, target / stage / path.name, half=half)
    if run.status(TOKENIZER) == "finished":
        shutil.copytree(run.stage(TOKENIZER), target / TOKENIZER)
    if run.recipe_path.is_file():
        recipe = redact_toml(toml_text(run.recipe_path, run.recipe_path.read_bytes()))
        write_bytes(target / run.recipe_path.name, sealed(f"{COMMENT}{recipe}".encode()))
    if (run.root / "lock.json").is_file():
        write_sealed_json(target / "lock.json", redact_paths(read_lock(run.root / "lock.json")))
    model = redact_paths(run.model())
    model["stages"] = {stage: state for stage, state in model["stages"].items() if stage in {TOKENIZER, *weights}}
    for stage, entry in model["parts"].items():
        if stage != TOKENIZER:  # its folder is copied unchanged
            used = TUNED.get(stage) if TUNED.get(stage) in weights else stage
            entry["weights"] = f"{used}/{weights[used].name}" if used in weights else ""
    write_sealed_json(target / run.model_path.name, model)
    for name, voice in {**run.voices(), **voices}.items():
        pack_run(voice, target / VOICES / name, half=half)
    write_digests(target)


def parts_of(run: RunFolder) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(stage, part, entry of ``model.json``): first the parts of the omni stage, then those with their own stage."""
    model = run.model()
    stage = _joint(run)
    joint = model["stages"].get(stage, {}).get("parts", {})
    for name, entry in joint.items():
        yield stage, name, entry
    for stage, entry in model["parts"].items():
        if stage != THINKER or THINKER not in joint:
            yield stage, stage, entry


def describe(found: ModelRef) -> dict[str, Any]:
    """All facts about a model. RequestError if it is damaged, or a plugin is missing."""
    run, bundle = found.folder, found.bundle.open() if found.bundle is not None else None
    able = abilities(run, bundle)
    parts, stages, exported = [], {}, None
    if run is not None:
        parts = _of_run(run)
        for stage, state in run.model()["stages"].items():
            stages[stage] = {
                key: value for key, value in state.items() if key not in ("parts", "updated", "end", "files")
            }
    if found.bundle is not None and bundle is not None:
        known = {(part["kind"], part["plugin"], part["use"]) for part in parts}
        new = {name: one for name, one in bundle.parts.items() if (one["kind"], one["plugin"], one["use"]) not in known}
        parts += [_row(name, "", entry, None) for name, entry in new.items()]
        graphs = [graph for entry in bundle.parts.values() for graph in entry["graphs"].values()]
        precisions = {str(one["precision"]) for one in graphs if isinstance(one, Mapping) and "precision" in one}
        exported = {"path": str(found.bundle.root), "bytes": size_of(found.bundle.root)}
        exported |= {"runtime": found.bundle.runtime.name, "precision": sorted(precisions)}
    return able | {
        "parameters": sum(part["numbers"] or 0 for part in parts) or None,
        "parts": parts,
        "stages": stages,
        "data": learned_from(run, bundle),
        "run": None if run is None else {"path": str(run.root), "bytes": size_of(run.root)},
        "bundle": exported,
    }


def abilities(run: RunFolder | None, bundle: Engine | None) -> dict[str, Any]:
    """What a model does, from its run if there is one, else from its bundle: inputs and outputs (text, modalities,
    speech), whether it transcribes, its voices, and its context in tokens."""
    entries: dict[str, Mapping[str, Any]] = {}
    modalities: list[str] = []
    if run is not None:
        entries = {part: entry for _, part, entry in reversed([*parts_of(run)])}
        modalities = [part for stage, part, _ in parts_of(run) if stage == _joint(run) and part != THINKER]
    elif bundle is not None:
        entries, modalities = dict(bundle.parts), list(bundle.modalities)
    thinks, speaks = THINKER in entries, entries.keys() >= {"talker", "codec"}
    heads: list[Mapping[str, Any]] = [] if bundle is None else list(bundle.heads.values())
    added = [] if bundle is None else list(bundle.voice_models)
    if run is not None:
        own = [(stage, entry) for stage, _, entry in parts_of(run) if stage != _joint(run)]
        heads = [entry for stage, entry in own if entry["kind"] == EncoderPart.kind and run.checkpoint(stage)]
    encoders = [open_entry(entry)[0].part for entry in heads]
    hears = any(isinstance(part, EncoderPart) and part.transcribe for part in encoders)
    alone = [part.modality for part in encoders if isinstance(part, EncoderPart)]
    takes = [*dict.fromkeys([*([TEXT] if thinks or speaks else []), *(modalities if thinks else []), *alone])]
    gives = ([TEXT] if thinks or hears else []) + ([SPEECH] if speaks else [])
    if not takes:  # a codec, with or without a vocoder
        takes, gives = [SPEECH], [SPEECH]
    gives = gives or ["answers"]
    return {
        "does": f"{listed(takes)} in, {listed(gives)} out",
        "takes": takes,
        "gives": gives,
        "transcribes": hears,
        "voices": [*entries["talker"].get("voices", []), *(run.voices() if run is not None else added)]
        if speaks
        else [],
        "context": (int(entries[THINKER]["config"].get("ctx_len", 0)) if thinks else 0) or None,
    }


def _of_run(run: RunFolder) -> list[dict[str, Any]]:
    numbers: dict[str, Counter[str]] = {}
    rows, joint = [], _joint(run)
    for stage, part, entry in parts_of(run):
        weights = run.tuned(stage)
        if weights is not None and stage not in numbers:
            numbers[stage] = counts(weights, 2 if stage == joint else 0)
        found = numbers.get(stage, Counter())
        if stage != joint:
            own: int | None = found[""] or None
        elif part == THINKER:
            own = sum(count for name, count in found.items() if name.split(".")[0] == THINKER)
        else:
            own = found[f"encoders.{part}"] + found[f"projectors.{part}"]
        if KEY in entry:  # and is in no checkpoint
            own = (own or 0) + (entry[KEY].get("parameters") or 0) or None
        rows.append(_row(part, stage, entry, own))
    return rows


def _row(part: str, stage: str, entry: Mapping[str, Any], numbers: int | None) -> dict[str, Any]:
    sized = {**entry["config"], **{key: entry[key] for key in SIZES if key in entry}}
    return {
        "part": part,
        "stage": stage,
        "kind": entry["kind"],
        "use": entry["use"],
        "plugin": entry["plugin"],
        "numbers": numbers,
        "borrowed": KEY in entry,
        "sizes": {key: sized[key] for key in SIZES if key in sized},
    }


def learned_from(run: RunFolder | None, bundle: Engine | None) -> dict[str, list[dict[str, str]]]:
    """The training data by list, as far as it is recorded; empty if a plugin that declares a source is missing."""
    if run is not None and run.recipe_path.is_file():
        with suppress(RequestError):
            return sources_of(load_recipe(str(run.recipe_path))) | _learned_by_voices(run)
    data: dict[str, list[dict[str, str]]] = dict(bundle.provenance.get("data", {})) if bundle is not None else {}
    return data


def _learned_by_voices(run: RunFolder) -> dict[str, list[dict[str, str]]]:
    """The recordings of voices that were added."""
    recipes = {name: voice.recipe_path for name, voice in run.voices().items() if voice.recipe_path.is_file()}
    found = {name: sources_of(load_recipe(str(path))).get(SPEECH) for name, path in recipes.items()}
    return {f"voice {name}": sources for name, sources in found.items() if sources}


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def listed(words: Sequence[str]) -> str:
    """``one, two and three``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
