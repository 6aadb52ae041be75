"""``metrics.jsonl``: one JSON object a line, appended while training. Knows nothing of what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import MuomniError
from muomni_cli.core.files import write_text


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; what a crash left half written is skipped."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("step"), int):
                yield entry


class MetricsLog:
    """Appends to ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, step: int) -> None:
        """Drop every line after ``step``, so that a resumed run reads as if it had never stopped."""
        kept = [json.dumps(entry) for entry in read_lines(self.path) if entry["step"] <= step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a line.

        Raises:
            MuomniError: if it cannot be written (a full disk).
        """
        line = json.dumps({"step": step, **values})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise MuomniError(
                f"could not write {self.path}: {error.strerror or error}",
                "free some space, then continue from the last checkpoint with --resume",
            ) from error
