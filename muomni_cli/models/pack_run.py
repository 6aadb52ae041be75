"""A run as a package carries it: best weights alone, what describes them, and no trace of the machine that trained it.
Imports no torch."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import read_json, write_json, write_text
from muomni_cli.models.digests import seal
from muomni_cli.models.engines import OMNI
from muomni_cli.models.stripping import stripped, stripped_toml
from muomni_cli.models.weights import copy_weights
from muomni_cli.runs.folder import RunFolder

TOKENIZER = "tokenizer"
THINKER = "thinker"


def weights_of(run: RunFolder, without: Collection[str] = ()) -> dict[str, Path]:
    """The checkpoint of every stage that a package takes: the best, else the last. Not the Thinker's own where the omni
    stage has tuned it: nobody opens that.

    Args:
        run: whose.
        without: encoders' own stages that are left out: what they learned beside the encoder, which omni has tuned, is
            for transcripts and for cards.

    Raises:
        RequestError: nothing is trained, a stage is unfinished, its weights are gone, or it cannot be left out.
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
                f"{stage} of run {run.root} is unfinished, or its weights are gone",
                f"finish it: muomni train {stage} {run.recipe_path} --run {run.name} --resume",
            )
        found[stage] = weights
    if not found:
        raise RequestError(f"run {run.root} has trained nothing yet", f"train it: muomni train all {run.recipe_path}")
    if {THINKER, OMNI} & found.keys() and run.status(TOKENIZER) != "finished":
        raise RequestError(f"run {run.root} has no tokenizer", "its Thinker means nothing without")
    return found


def pack_run(run: RunFolder, target: Path, *, half: bool, without: Collection[str] = ()) -> None:
    """Write what a package carries of ``run`` into the new folder ``target``.

    Args:
        run: whose stages are all finished.
        target: is not there yet.
        half: store weights as fp16.
        without: as of :func:`weights_of`.

    Raises:
        RequestError: as of :func:`weights_of`.
    """
    weights = weights_of(run, without)
    for stage, path in weights.items():
        copy_weights(path, target / stage / path.name, half=half)
    if run.status(TOKENIZER) == "finished":
        shutil.copytree(run.stage(TOKENIZER), target / TOKENIZER)
    if run.recipe_path.is_file():
        write_text(target / run.recipe_path.name, stripped_toml(run.recipe_path.read_text(encoding="utf-8")))
    if (run.root / "lock.json").is_file():
        write_json(target / "lock.json", stripped(read_json(run.root / "lock.json")))
    write_json(target / run.model_path.name, _description(run, weights))
    seal(target)


def _description(run: RunFolder, weights: dict[str, Path]) -> dict[str, Any]:
    """``model.json``, of what is carried."""
    model: dict[str, Any] = stripped(run.model())
    model["stages"] = {stage: state for stage, state in model["stages"].items() if stage in {TOKENIZER, *weights}}
    for stage, entry in model["parts"].items():
        if stage != TOKENIZER:  # its folder keeps its name
            entry["weights"] = f"{stage}/{weights[stage].name}" if stage in weights else ""
    return model


def parts_of(run: RunFolder) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Stage, part and what ``model.json`` says of it: of the joint stage each of its parts, then those with a stage of
    their own."""
    model = run.model()
    joint = model["stages"].get(OMNI, {}).get("parts", {})
    for name, entry in joint.items():
        yield OMNI, name, entry
    for stage, entry in model["parts"].items():
        if stage != THINKER or THINKER not in joint:
            yield stage, stage, entry
