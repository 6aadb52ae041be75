"""Writes the site: the page, its scripts, onnxruntime for browsers, and the bundle, all below one folder.

Any server of files serves it, as ``python -m http.server`` does. A list of the files, with a version that changes with
any of them, lets the page's service worker keep them for use without a network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from muomni_cli.api import RequestError
from muomni_cli.contract.bundle import ExportedFile
from muomni_cli.core.checksums import sha256
from muomni_cli.core.files import parse_json, read_bytes, write_text
from muomni_cli.runs.run import VOICES
from muomni_web.onnxruntime_files import onnxruntime_files

STATIC = Path(__file__).parent / "static"
MANIFEST = "muomni.json"
LIST = "files.json"
LEFT_OUT = frozenset({"reference.npz"})  # of the bundle: for checking it
ELSEWHERE = "run it with muomni in Python, or export another model"


def build(
    bundle: Path,
    folder: Path,
    *,
    precision: str,  # noqa: ARG001 (the bundle has it)
    notify: Callable[[str], None],
) -> Sequence[ExportedFile]:
    """Write the site of the bundle in the folder ``bundle`` into the empty ``folder``.

    Raises:
        RequestError: the bundle has parts that the site cannot run.
        MuomniError: onnxruntime's files cannot be had.
    """
    manifest = parse_json(bundle / MANIFEST, read_bytes(bundle / MANIFEST), ELSEWHERE)
    require_runnable(manifest)
    runtime = onnxruntime_files(notify)
    shutil.copytree(STATIC, folder, dirs_exist_ok=True)
    (folder / "ort").mkdir()
    for path in runtime:
        shutil.copyfile(path, folder / "ort" / path.name)
    for name in (MANIFEST, *(one for one in manifest["files"] if not _is_left_out(one))):
        target = folder / "bundle" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle / name, target)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    digests = "".join(f"{name} {sha256(folder / name)}\n" for name in files)
    version = hashlib.sha256(digests.encode()).hexdigest()[:16]
    sizes = {name: (folder / name).stat().st_size for name in files if name != "sw.js"}
    write_text(folder / LIST, json.dumps({"version": version, "files": sizes}, indent=1) + "\n")
    own = sum((folder / name).stat().st_size for name in files if name.startswith("bundle/"))
    says = f"the model takes {own / 1e6:.2f} MB; any server of files serves the folder: python -m http.server -d FOLDER"
    if added := sorted({name.split("/")[1] for name in manifest["files"] if name.startswith(f"{VOICES}/")}):
        says += f"; it does not speak with the voices that were added: {', '.join(added)}"
    return [ExportedFile("site", manifest.get("precision", "fp32"), 0.0, 0.0, says)]


def _is_left_out(name: str) -> bool:
    """Whether a file of a bundle is for checks, or for other programs."""
    voice = name.partition("/")[0] == VOICES  # the scripts speak with the model's own voices alone
    return voice or name in LEFT_OUT or name in ("thinker/text.onnx", "thinker/genai_config.json")


def require_runnable(manifest: Mapping[str, Any]) -> None:
    """RequestError if the site has no code for something in the bundle."""
    known = json.loads((Path(__file__).parent / "parts.json").read_text("utf-8"))  # what muomni-web.js runs
    for name, part in manifest["parts"].items():
        if part["kind"] != "thinker" and part["use"] not in known.get(part["kind"], ()):
            raise RequestError(f"{name}: a site cannot run the {part['kind']} {part['use']!r}", ELSEWHERE)
        if part.get("mel", {}).get("log", "ln") != "ln":
            raise RequestError(f"{name}: a site cannot make sound of a log-mel in powers of ten", ELSEWHERE)
    chat = manifest["chat"]
    if manifest["tokenizer"] is not None and chat.get("template") == "own":
        raise RequestError("a site cannot run a chat template in Jinja", 'set chat.template="plain" and export again')
    if chat.get("form"):
        raise RequestError("a site cannot hold the answers to a form", ELSEWHERE)
