"""The folder that runs without PyTorch: graphs, tokenizer, and ``muomni.json``, which says what is in it.

Knows files and numpy. ``muomni.json`` holds, besides ``format`` and ``name``:

- ``parts``: name -> what ``model.json`` of a run says of it (kind, use, plugin, config, and what else it is built with
  or has learned; ``sample_rate`` of sound), and ``graphs``: name -> file, inputs with their axes, outputs, states,
  precision, tolerance and the error that was measured (fp32: largest difference from PyTorch; others: relative, and the
  tolerance is how far the graph may be from what it gave itself), and what may differ: ``unchecked``,
  ``max_mismatch_fraction``. An encoder is called by its modality. One that the Thinker hears or sees with has a graph
  ``projector``; one whose own stage trained it to answer has what it declares as ``head_graphs``. Where the omni stage
  tuned it further, the encoder of the own stage is a part of its own, ``audio-alone``, with that head
- ``tokenizer``: kind, use, plugin, config, folder; null for a model without a Thinker; ``special_tokens``: name -> id
- ``chat``: how the model answers unless asked otherwise
- ``files``: path -> SHA-256 of every other file
- ``precision``: what parts have unless they were asked to have another
- ``provenance``: run, steps of each checkpoint, recipe hash, commit that trained it, versions, and ``data``: what it
  learned from, list by list of the recipe, with the license that the recipe states; or ``untrained``

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
    """A folder with a manifest that this version reads."""

    root: Path
    manifest: Mapping[str, Any]

    @property
    def parts(self) -> Mapping[str, Any]:
        """Part name -> what the manifest says of it."""
        parts: Mapping[str, Any] = self.manifest["parts"]
        return parts

    def graph(self, part: str, graph: str) -> Mapping[str, Any]:
        """What the manifest says of one graph. RequestError if there is none."""
        try:
            entry: Mapping[str, Any] = self.parts[part]["graphs"][graph]
        except KeyError as error:
            raise RequestError(f"{self.root} has no graph {graph} of a {part}", AGAIN) from error
        return entry

    def file(self, part: str, graph: str) -> Path:
        """Where a graph lies."""
        return self.root / str(self.graph(part, graph)["file"])

    def trusted(self, name: str) -> Path:
        """A file of the bundle, once it is seen to be what was exported. RequestError if it is missing or changed."""
        path = self.root / name
        if not path.is_file():
            raise RequestError(f"{self.root} is not whole: {name} is missing", AGAIN)
        if name not in self.manifest["files"] or sha256(path) != self.manifest["files"][name]:
            raise RequestError(f"{path} is not what was exported", AGAIN)
        return path

    def verify(self) -> None:
        """Compare every file with what the manifest says.

        Raises:
            RequestError: one is missing, changed, or does not belong there.
        """
        expected: Mapping[str, str] = self.manifest["files"]
        there = {path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file()}
        for name in sorted(there - expected.keys() - {MANIFEST}):
            raise RequestError(f"{self.root} has a file that does not belong there: {name}", "remove it")
        for name in expected:
            self.trusted(name)


def open_bundle(root: Path) -> BundleManifest:
    """Read the manifest; looks at no other file.

    Raises:
        RequestError: it is no bundle, damaged, or of a newer format.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise RequestError(f"{root} is no bundle: it has no {MANIFEST}", "make one: muomni export --onnx -o FOLDER")
    manifest = read_json(path)
    version = manifest.get("format")
    if version != FORMAT:
        raise RequestError(
            f"{root} has bundle format {version}, this muomni reads {FORMAT}", "upgrade muomni, or export again"
        )
    whole = all(isinstance(manifest.get(key), dict) for key in ("parts", "files", "chat"))
    if (
        not whole
        or not isinstance(manifest.get("tokenizer", {}), dict | None)
        or not all(isinstance(part.get("graphs"), dict) for part in manifest["parts"].values())
    ):
        raise RequestError(f"{path} is damaged", AGAIN)
    return BundleManifest(root, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest with the digest of every file that is there."""
    there = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in there}
    write_json(folder / MANIFEST, {"format": FORMAT, **manifest, "files": files})


def sha256(path: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
