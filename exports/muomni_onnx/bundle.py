"""The bundle: a folder that runs without PyTorch, with graphs, tokenizer and the manifest ``muomni.json``.

Besides ``format`` and ``name``, the manifest holds:

- ``parts``: name -> its entry of the run's ``model.json`` (kind, use, plugin, config, what else it is built with or has
  learned, ``sample_rate`` of sound) and ``graphs``: name -> file, inputs with their axes, outputs, states, precision,
  tolerance, measured error (fp32: largest difference from PyTorch; others: relative, and the tolerance is relative to
  the graph's own outputs at export), ``unchecked``, ``max_mismatch_fraction``. An encoder is named by its modality. One
  that is fused with the Thinker has a graph ``projector``; one whose own stage trained a head has its ``head_graphs``.
  Where the omni stage tuned it further, the encoder of its own stage is the part ``audio-alone``, with that head
- ``tokenizer``: kind, use, plugin, config, folder; null for a model without a Thinker; ``special_tokens``: name -> id
- ``chat``: the default chat settings
- ``files``: path -> SHA-256 of every other file
- ``precision``: the default for all parts
- ``provenance``: run, step of each checkpoint, recipe hash, training commit, versions, and ``data``: the sources of
  each list of the recipe with the licenses that it states; or ``untrained``

The folder ``thinker`` also holds ``genai_config.json`` and ``text.onnx`` (ids to logits; its weights stay in the other
two graphs), so that onnxruntime-genai loads that folder as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.api import RequestError
from muomni_cli.core.files import read_json, write_json

FORMAT = 1
MANIFEST = "muomni.json"
REFERENCE = "reference.npz"
AGAIN = "export the model again, or copy the whole folder again"


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
        """The path of a file, once its digest is checked. RequestError if it is missing or changed."""
        path = self.root / name
        if not path.is_file():
            raise RequestError(f"{self.root} is not whole: {name} is missing", AGAIN)
        if name not in self.manifest["files"] or sha256(path) != self.manifest["files"][name]:
            raise RequestError(f"{path} is not what was exported", AGAIN)
        return path

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
    manifest = read_json(path)
    version = manifest.get("format")
    if version != FORMAT:
        fix = "upgrade muomni, or export again"
        raise RequestError(f"{root} has bundle format {version}, this muomni reads {FORMAT}", fix)
    if (
        not all(isinstance(manifest.get(key), dict) for key in ("parts", "files", "chat"))
        or not isinstance(manifest.get("tokenizer", {}), dict | None)
        or not all(isinstance(part.get("graphs"), dict) for part in manifest["parts"].values())
    ):
        raise RequestError(f"{path} is damaged", AGAIN)
    return BundleManifest(root, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, with the digest of every file in the folder."""
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in there}
    write_json(folder / MANIFEST, {"format": FORMAT, **manifest, "files": files})


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
