"""The bundle: a folder that runs without PyTorch, with graphs, tokenizer and the manifest ``muomni.json``.

Besides ``format``, ``checksum`` (:mod:`muomni_cli.core.checksums`) and ``name``, the manifest holds:

- ``parts``: name -> its entry of the run's ``model.json`` (kind, use, plugin, config, what else it is built with or has
  learned, ``sample_rate`` of sound) and ``graphs``: name -> file, inputs with their axes, outputs, states, precision,
  tolerance, measured error (fp32: largest difference from PyTorch; others: relative, and the tolerance is relative to
  the graph's own outputs at export), ``unchecked``, ``max_mismatch_fraction``. All are of standard operators; the graph
  ``thinker`` may also have the form ``in_place``: a ``file`` for onnxruntime on a CPU, with the ``domain`` of its other
  operators, the files of its ``weights`` and its ``error`` (:mod:`muomni_onnx.in_place_graph`). An encoder is named by
  its modality. One that is fused with the Thinker has a graph ``projector``; one whose own stage trained a head has its
  ``head_graphs``. Where the omni stage tuned it further, the encoder of its own stage is the part ``audio-alone``, with
  that head
- ``tokenizer``: kind, use, plugin, config, folder; null for a model without a Thinker; ``special_tokens``: name -> id
- ``chat``: the default chat settings
- ``files``: path -> SHA-256 of every other file. ``voices/NAME/`` is the bundle of a voice that was added to the model,
  with a Talker, codec and vocoder of its own
- ``precision``: the default for all parts
- ``provenance``: run, step of each checkpoint, recipe hash, training commit, versions, and ``data``: the sources of
  each list of the recipe with the licenses that it states; or ``untrained``

The folder ``thinker`` also holds ``genai_config.json`` and ``text.onnx`` (ids to logits; its weights stay in the other
two graphs), so that onnxruntime-genai loads that folder as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from muomni_cli.api import RequestError
from muomni_cli.core.checksums import require_whole, sha256
from muomni_cli.core.files import parse_json, read_bytes, write_sealed_json
from muomni_cli.registry.entries import first_problem

FORMAT = 1
MANIFEST = "muomni.json"
REFERENCE = "reference.npz"
AGAIN = "export the model again, or copy the whole folder again"


def _inside(name: str) -> str:
    """``name`` if it is the relative path of a file in a folder, on every system."""
    path = PurePosixPath(name)
    if path.as_posix() != name or path.is_absolute() or {".", ".."} & {*path.parts, name} or set(name) & set("\\:\0"):
        raise ValueError(f"{name!r} is not a path inside the bundle")
    return name


InnerPath = Annotated[str, AfterValidator(_inside)]


Size = Annotated[int, Field(ge=0, le=1 << 24)]  # of an axis


class _InPlace(BaseModel):
    """What the runtime reads of the form of a graph whose cache is written in place."""

    model_config = ConfigDict(strict=True)

    file: InnerPath
    weights: list[InnerPath]


class _Graph(BaseModel):
    """What the runtime reads of a graph."""

    model_config = ConfigDict(strict=True)

    file: InnerPath
    inputs: dict[str, list[Size | str]]
    outputs: list[str]
    states: dict[str, str]
    tolerance: float
    precision: str = "fp32"
    unchecked: list[str] = []
    max_mismatch_fraction: float = 0.0
    in_place: _InPlace | None = None

    @model_validator(mode="after")
    def _states_exist(self) -> Self:
        if not (self.states.keys() <= self.inputs.keys() and set(self.states.values()) <= set(self.outputs)):
            raise ValueError("states must be inputs, and their next values outputs")
        return self


class _Part(BaseModel):
    model_config = ConfigDict(strict=True)

    kind: str
    use: str
    plugin: str
    config: dict[str, Any]


class _PartWithGraphs(_Part):
    graphs: dict[str, _Graph]


class _Tokenizer(_Part):
    weights: InnerPath


class _Manifest(BaseModel):
    """What the runtime reads of a manifest; other keys are allowed."""

    model_config = ConfigDict(strict=True)

    name: str
    parts: dict[str, _PartWithGraphs]
    tokenizer: _Tokenizer | None
    chat: dict[str, Any]
    files: dict[InnerPath, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    provenance: dict[str, Any] = {}

    def unlisted(self) -> str | None:
        """A file or folder that would be opened although ``files`` does not list it."""
        graphs = (graph.file for part in self.parts.values() for graph in part.graphs.values())
        missing = next((name for name in graphs if name not in self.files), None)
        if missing is None and self.tokenizer is not None and not list(files_in(self.tokenizer.weights, self.files)):
            return self.tokenizer.weights
        return missing


def files_in(folder: str, files: Mapping[str, str]) -> list[str]:
    """The listed files in a folder of a bundle."""
    return [name for name in files if PurePosixPath(name).is_relative_to(folder)]


@dataclass(frozen=True, slots=True)
class BundleManifest:
    """A bundle's folder and manifest, of a format that this version reads."""

    root: Path
    manifest: Mapping[str, Any]

    @property
    def parts(self) -> Mapping[str, Any]:
        parts: Mapping[str, Any] = self.manifest["parts"]
        return parts

    def graph(self, part: str, graph: str) -> Mapping[str, Any]:
        """The manifest's entry for one graph. RequestError if there is none."""
        try:
            entry: Mapping[str, Any] = self.parts[part]["graphs"][graph]
        except KeyError as error:
            raise RequestError(f"{self.root} has no graph {graph} of a {part}", AGAIN) from error
        return entry

    def file(self, part: str, graph: str) -> Path:
        return self.root / str(self.graph(part, graph)["file"])

    def trusted(self, name: str) -> Path:
        """The path of a file, once its digest is checked. RequestError if it is missing, changed, or a link to a place
        outside."""
        path = self.root / name
        if not path.is_file():
            raise RequestError(f"{self.root} is not whole: {name} is missing", AGAIN)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise RequestError(f"{path} is a link that leads out of the bundle", "copy what it names in its place")
        if name not in self.manifest["files"] or sha256(path) != self.manifest["files"][name]:
            raise RequestError(f"{path} is not what was exported", AGAIN)
        return path

    def trusted_folder(self, name: str) -> Path:
        """The path of a folder, once the digests of all files in it are checked. RequestError as of :meth:`trusted`,
        and for a file that is not listed."""
        there = (path.relative_to(self.root).as_posix() for path in (self.root / name).rglob("*") if path.is_file())
        for file in {*there, *files_in(name, self.manifest["files"])}:
            self.trusted(file)
        return self.root / name

    def verify(self) -> None:
        """Check the digest of every file. RequestError if one is missing, changed or unexpected."""
        expected: Mapping[str, str] = self.manifest["files"]
        there = {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}
        for name in sorted(there - expected.keys() - {MANIFEST}):
            raise RequestError(f"{self.root} has a file that does not belong there: {name}", "remove it")
        for name in expected:
            self.trusted(name)


def open_bundle(root: Path) -> BundleManifest:
    """Read the manifest and no other file. RequestError if it is no bundle, damaged, or of a newer format."""
    path = root / MANIFEST
    if not path.is_file():
        raise RequestError(f"{root} is no bundle: it has no {MANIFEST}", "make one: muomni export --onnx -o FOLDER")
    raw = read_bytes(path)
    manifest = parse_json(path, raw, AGAIN)
    version = manifest.get("format")
    if version != FORMAT:
        fix = "upgrade muomni, or export again"
        raise RequestError(f"{root} has bundle format {version}, this muomni reads {FORMAT}", fix)
    require_whole(path, raw, AGAIN)
    try:
        unlisted = _Manifest.model_validate(manifest).unlisted()
    except ValidationError as error:
        raise RequestError(f"{path} is damaged: {first_problem(error)}", AGAIN) from error
    if unlisted is not None:
        raise RequestError(f"{path} is damaged: it lists no digest of {unlisted}", AGAIN)
    return BundleManifest(root, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, with the digest of every file in the folder."""
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in there}
    write_sealed_json(folder / MANIFEST, {"format": FORMAT, **manifest, "files": files})
