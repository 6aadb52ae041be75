"""The files of checkpoints in Hugging Face's format: ``config.json``, safetensors, and their digest. Imports no torch:
recipes read them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError

CONFIG = "config.json"
MOST_BYTES = 1 << 20  # of a config
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a small JSON file. RequestError if it is missing or damaged."""
    return read_table(path, json.loads, "name a folder with a checkpoint in Hugging Face's format")


def read_table(path: Path, parse: Callable[[str], Any], missing: str) -> dict[str, Any]:
    """What ``parse``, which raises ValueError, makes of a small text file: names and their values. RequestError if the
    file is damaged, or is missing, with ``missing`` as what to do."""
    if not os.path.isfile(path):  # whatever the text: a name may be too long for any file
        raise RequestError(f"there is no {path}", missing)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError("it is too large")
        found = parse(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, error) from error
    return found


def damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"{path} is damaged: {error}", "copy the checkpoint again")


def weight_files(folder: Path) -> list[Path]:
    """The safetensors of a checkpoint, one file or several. RequestError if one is missing, or is not safetensors:
    others would have to be unpickled."""
    if (folder / INDEX).is_file():
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RequestError(f"{folder / INDEX} is damaged", "copy the checkpoint again") from error
        if strange := [name for name in names if not isinstance(name, str) or Path(name).name != name]:
            raise RequestError(
                f"{folder / INDEX} names {strange[0]!r}, outside of the folder", "use another checkpoint"
            )
        for name in names:
            if not (folder / name).is_file():
                raise RequestError(f"{folder / name} is missing, and {INDEX} names it", "copy the checkpoint again")
        return [folder / name for name in names]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    what = f"there is no {SINGLE} in {folder}"
    if pickled := sorted(folder.glob("*.bin")):
        what += f", and {pickled[0].name} may run any code when it is read"
    raise RequestError(what, "name a folder with weights in safetensors format")


def digest_of(folder: Path) -> str:
    """SHA-256 of the weights of a checkpoint, in hexadecimal digits. RequestError as of :func:`weight_files`."""
    total = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
