"""What a checkpoint says about itself, read without torch and without its tensors.

The metadata entry ``muomni`` of the safetensors file is one JSON object: format, stage, part (kind, use, plugin,
config, vocab_size), step, steps, best, seconds, seed, window, finished and recipe (hash of the resolved recipe).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from muomni_cli.core.errors import RequestError

FORMAT = 1
ENTRY = "muomni"


def read_header(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        RequestError: if the file is missing, cut short, not ours, or of a format that this version does not read.
    """
    if not path.is_file():
        raise RequestError(f"there is no checkpoint {path}", "check the name, or train the stage that writes it")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RequestError(
            f"{path} is damaged, cut short or no checkpoint at all",
            "name another checkpoint with -m, or train the stage again with --force",
        ) from error
    try:
        header = json.loads(metadata[ENTRY])
    except (KeyError, ValueError) as error:
        raise RequestError(
            f"{path} is no checkpoint of muomni",
            "name a file that `muomni train` wrote, or train the stage again with --force",
        ) from error
    if header.get("format") != FORMAT:
        raise RequestError(
            f"{path} has checkpoint format {header.get('format')}, this muomni reads {FORMAT}",
            "use the version of muomni named in the run's lock.json",
        )
    assert isinstance(header, dict)
    return header
