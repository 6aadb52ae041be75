"""A run whose weights are the mean of several checkpoints: of one training (arXiv:1803.05407), or of several that
began with the same weights (arXiv:2203.05482). Imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import new_folder, write_sealed_json
from muomni_cli.runs.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from muomni_cli.runs.digests import DIGESTS
from muomni_cli.runs.run import BEST, LAST, RunFolder, kept_checkpoints, read_header


def average(
    runs: Sequence[RunFolder], root: Path, notify: Callable[[str], None], *, last: int = 0, replace: bool = False
) -> list[str]:
    """Make the run ``root``: a copy of the first of ``runs`` in which the weights of stages are averaged; returns these
    stages. Of a single run, those of its kept checkpoints (``keep_last``), at most the ``last`` newest (0: all); of
    several, those of the stage's best checkpoint in each. The new run holds no training state.

    Raises:
        RequestError: ``root`` exists, no stage has several checkpoints, or they do not fit together.
    """
    first = runs[0]
    found = {stage: _checkpoints(runs, stage, last) for stage in first.model()["stages"]}
    stages = [stage for stage, paths in found.items() if len(paths) > 1]
    if not stages:
        what = "the runs have no stage in common"
        what = what if len(runs) > 1 else f"run {first.root} has kept no two checkpoints of a stage"
        raise RequestError(what, "train with keep_last=5, or name runs of the same recipe")
    with new_folder(root, replace=replace) as folder:
        left_behind = shutil.ignore_patterns(DIGESTS, "step-*.safetensors")
        shutil.copytree(first.root, folder, dirs_exist_ok=True, ignore=left_behind)
        model = first.model()
        for stage in stages:
            checkpoints = [read_checkpoint(path) for path in found[stage]]
            for name in (BEST, LAST):
                (folder / stage / name).unlink(missing_ok=True)
            header = {name: value for name, value in checkpoints[-1].header.items() if name != "format"}
            write_checkpoint(folder / stage / LAST, header, {"model": _mean(checkpoints)})
            if stage in model["parts"]:
                model["parts"][stage]["weights"] = f"{stage}/{LAST}"
            notify(f"{stage}: mean of {', '.join(str(path) for path in found[stage])}")
        write_sealed_json(folder / "model.json", {"format": 1, **model, "name": root.resolve().name})
    return stages


def _checkpoints(runs: Sequence[RunFolder], stage: str, last: int) -> list[Path]:
    if len(runs) == 1:
        kept = list(kept_checkpoints(runs[0].stage(stage)).values())
        paths = kept[-last:] if last else kept
    else:
        each = [run.checkpoint(stage) for run in runs]
        paths = [path for path in each if path is not None]
        paths = paths if len(paths) == len(runs) else []
    for path in paths:
        if read_header(path).get("lora"):
            raise RequestError(
                f"{path} holds adapters, and the mean of adapters is not the adapter of a mean",
                "merge the runs first, and average those: muomni models merge RUN -o NEW",
            )
    return paths


def _mean(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """The mean of the weights, of the averaged ones where there are any, in float64. What is no floating-point number
    must be equal in all."""
    every: list[Mapping[str, Tensor]] = [one.section("model") | one.section("ema") for one in checkpoints]
    mean: dict[str, Tensor] = {}
    for name, tensor in every[0].items():
        same = [other[name] for other in every if name in other and other[name].shape == tensor.shape]
        if len(same) < len(every) or any(other.keys() != every[0].keys() for other in every):
            raise _misfit(checkpoints, name)
        if tensor.is_floating_point():
            mean[name] = torch.stack([one.double() for one in same]).mean(0).to(tensor.dtype)
        elif all(torch.equal(one, tensor) for one in same):
            mean[name] = tensor
        else:
            raise _misfit(checkpoints, name)
    return mean


def _misfit(checkpoints: Sequence[Checkpoint], name: str) -> RequestError:
    paths = ", ".join(str(one.path) for one in checkpoints)
    return RequestError(f"{name} is not alike in {paths}", "average checkpoints of one recipe, without other settings")
