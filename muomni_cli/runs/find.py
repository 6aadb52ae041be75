"""Which run a word of the command line means. Knows folders and names, opens nothing."""

from __future__ import annotations

from pathlib import Path

from muomni_cli.api import RequestError
from muomni_cli.extras import require
from muomni_cli.registry import nearest
from muomni_cli.runs.folder import RUNS, RunFolder
from muomni_cli.runs.header import read_header


def find_run(spec: str, runs: Path = RUNS, train: str = "muomni train all RECIPE") -> tuple[RunFolder, Path | None]:
    """The run that ``spec`` means, and the checkpoint if it names one.

    Args:
        spec: a run folder, the name of one under ``runs``, or a checkpoint file inside one.
        runs: where runs lie.
        train: the command that makes one.

    Raises:
        RequestError: says what was looked for, and what is there.
    """
    path = Path(spec).expanduser()
    if path.is_file():
        read_header(path)
        return RunFolder(path.resolve().parent.parent), path
    for root in (path, runs / spec):
        if (root / "model.json").is_file():
            return RunFolder(root), None
    known = sorted(p.parent.name for p in runs.glob("*/model.json"))
    listed = f"runs here: {', '.join(known)}" if known else f"there are no runs here yet; train one: {train}"
    if near := nearest(spec, known):
        listed = f"did you mean {near!r}? {listed}"
    raise RequestError(f"there is no model {spec!r}: no bundle, run folder, {runs / spec} or checkpoint", listed)


def require_torch(run: RunFolder) -> None:
    """See that a run's parts can be opened. MuomniError if PyTorch is not installed, which they need."""
    require(f"run {run.root}", "torch", otherwise="or export it where PyTorch is, and name the bundle with -m")
