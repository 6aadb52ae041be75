"""A run whose adapters are added to the weights they adapt. Imports torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import new_folder, write_sealed_json
from muomni_cli.nn.lora import Adapters, merged_weights
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.stages import DPO, OMNI, TALKER_DPO
from muomni_cli.registry.entries import open_entry
from muomni_cli.runs.checkpoint import PREFIXES, build_part, omni_entries, read_checkpoint, write_checkpoint
from muomni_cli.runs.digests import DIGESTS
from muomni_cli.runs.run import BEST, LAST, RunFolder, read_header


def merge(run: RunFolder, root: Path, notify: Callable[[str], None], *, replace: bool = False) -> list[str]:
    """Make the run ``root``: ``run`` with each stage's adapters added to its weights; returns the stages. Without
    training state, so others start from the new run, and it is not resumed.

    Raises:
        RequestError: ``root`` exists, or no stage has adapters.
    """
    model = run.model()
    stages = [stage for stage in model["stages"] if _adapted(run, stage)]
    if not stages:
        raise RequestError(f"run {run.root} has no adapters", "use it as it is: its weights are whole")
    with new_folder(root, replace=replace) as folder:
        shutil.copytree(run.root, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(DIGESTS))
        for stage in stages:
            source = run.checkpoint(stage)
            assert source is not None, "it has adapters"
            for name in (BEST, LAST):
                (folder / stage / name).unlink(missing_ok=True)
            checkpoint = read_checkpoint(source)
            header = {name: value for name, value in checkpoint.header.items() if name not in ("lora", "format")}
            tensors = checkpoint.section("model") | checkpoint.section("ema")
            scale = Adapters.of(checkpoint.header["lora"]).scale
            write_checkpoint(folder / stage / LAST, header, {"model": _merged(run, stage, tensors, scale)})
            notify(f"{stage}: {source} merged")
        write_sealed_json(folder / "model.json", {"format": 1, **model, "name": root.resolve().name})
    return stages


def _adapted(run: RunFolder, stage: str) -> bool:
    path = run.checkpoint(stage)
    return path is not None and bool(read_header(path).get("lora"))


def _merged(run: RunFolder, stage: str, tensors: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The weights of a stage's checkpoint, whose part may be only some of them."""
    module: nn.Module
    if stage in (OMNI, DPO):
        made: dict[str, Any] = {
            name: build_part(*open_entry(entry), entry)
            for name, entry in omni_entries(run, run.checkpoint(stage)).items()
        }
        module, prefix = OmniModel(made.pop("thinker"), made), ""
    else:
        registered, config, entry = run.part(
            {TALKER_DPO: "talker"}.get(stage, stage), f"muomni train {stage} {run.recipe_path}"
        )
        module = build_part(registered, config, entry)
        prefix = next((prefix for kind, prefix in PREFIXES.items() if isinstance(registered.part, kind)), "")
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    others = {name: tensor for name, tensor in tensors.items() if not name.startswith(prefix)}
    return others | {f"{prefix}{name}": tensor for name, tensor in merged_weights(module, own, scale).items()}
