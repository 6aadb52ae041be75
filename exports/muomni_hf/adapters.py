"""Adapters in the format of peft: ``adapter_config.json`` and ``adapter_model.safetensors``, in and out.

There, each layer of a fused one has its own adapter, as here has each section. Shapes: r rank, S sections.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from muomni_cli.contract.bundle import ExportedFile, TextModel
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import new_folder, write_json, write_sealed_json
from muomni_cli.models.locate import model_named
from muomni_cli.nn.llama_weights import names_of
from muomni_cli.nn.lora import A, Adapters, B, has_adapters, sections_of
from muomni_cli.runs.checkpoint import model_tensors, open_part, read_checkpoint, write_checkpoint
from muomni_cli.runs.run import LAST, RunFolder

CONFIG, WEIGHTS, PREFIX = "adapter_config.json", "adapter_model.safetensors", "base_model.model."
NEUTRAL: Mapping[str, tuple[Any, ...]] = {  # settings that change what is computed -> values that do not
    "use_dora": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "fan_in_fan_out": (False, None),
    "lora_bias": (False, None),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, []),
}


def export(model: TextModel, folder: Path, *, precision: str, notify: Callable[[str], None]) -> list[ExportedFile]:
    """Write the adapters of ``model`` into the empty ``folder``. RequestError if it has none."""
    checkpoint = read_checkpoint(Path(str(model.weights)))
    prefix = "thinker." if checkpoint.header.get("stage") == "omni" else ""
    held = checkpoint.section("model") | checkpoint.section("ema")
    tensors = {name.removeprefix(prefix): tensor for name, tensor in held.items() if name.startswith(prefix)}
    if not has_adapters(tensors):
        raise RequestError(f"{model.name} has no adapters", "train them: train.thinker.lora={ rank = 8 }")
    adapters = Adapters.of(checkpoint.header["lora"])
    found: dict[str, Tensor] = {}
    for name, a in tensors.items():
        layer, _, kind = name.rpartition(".")
        if kind != A:
            continue
        sections = sections_of(model.thinker.get_submodule(layer))
        parts = zip(a.chunk(len(sections)), tensors[f"{layer}.{B}"].split_with_sizes(sections), strict=True)
        for one, (rows, columns) in zip(names_of(f"{layer}.weight"), parts, strict=True):
            place = f"{PREFIX}{one.removesuffix('.weight')}"
            found[f"{place}.lora_A.weight"] = rows.contiguous()
            found[f"{place}.lora_B.weight"] = columns.contiguous()
    targets = sorted({name.split(".")[-3] for name in found})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "r": adapters.rank,
        "lora_alpha": adapters.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": targets,
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    write_json(folder / CONFIG, config)
    save_file(found, folder / WEIGHTS, {"format": "pt"})
    notify(f"{len(found) // 2} adapters of rank {adapters.rank} for {', '.join(targets)}")
    return [ExportedFile(WEIGHTS, precision, 0.0, 0.0, "open them on the base model, exported with --hf")]


def import_adapters(
    folder: Path, base: str, root: Path, *, replace: bool = False, notify: Callable[[str], None]
) -> None:
    """Make the run ``root``: the Thinker of ``base`` with the adapters in ``folder``; both are kept apart.

    Raises:
        RequestError: the run exists, or the adapters are damaged, do not fit, or are of a kind that is not supported.
    """
    adapters, tensors = _read(folder)
    run = model_named(base).run()
    module, weights = open_part(run, "thinker", f"muomni train thinker {run.recipe_path}")
    found = _placed(module, adapters, tensors, folder)
    targets = tuple(sorted({name.split(".")[-2] for name in found}))
    stored = {"rank": adapters.rank, "alpha": adapters.alpha, "targets": list(targets)}
    old = read_checkpoint(weights).header
    header = {name: value for name, value in old.items() if name not in ("format", "lora", "tensors", "checksum")}
    with new_folder(root, replace=replace) as temporary:
        place = RunFolder(temporary)
        shutil.copytree(run.stage("tokenizer"), place.stage("tokenizer"))
        write_checkpoint(
            place.stage("thinker") / LAST, {**header, "lora": stored}, {"model": model_tensors(module) | found}
        )
        held = run.model()
        entry = {**held["parts"]["thinker"], "weights": f"thinker/{LAST}"}
        place.record("tokenizer", held["stages"]["tokenizer"], held["parts"]["tokenizer"], held["chat"])
        place.record("thinker", {"status": "finished", "step": old.get("step", 0)}, entry)
        for name in ("recipe.toml", "lock.json"):
            if (run.root / name).is_file():
                shutil.copy(run.root / name, temporary / name)
        write_sealed_json(place.model_path, {"format": 1, **place.model(), "name": root.resolve().name})
    notify(f"wrote {root}: {weights} with adapters of rank {adapters.rank} for {', '.join(targets)}")


def _read(folder: Path) -> tuple[Adapters, dict[str, Tensor]]:
    """What the files say. RequestError if they are damaged or of a kind that is not supported."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise RequestError(f"there is no {folder / name}", "name a folder that peft wrote, with safetensors")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        if config.get("peft_type") != "LORA":
            raise RequestError(f"{folder} holds adapters of type {config.get('peft_type')}", "only LoRA is supported")
        if wrong := [name for name, values in NEUTRAL.items() if config.get(name) not in values]:
            raise RequestError(f"{folder} uses {', '.join(wrong)}, which is not supported", "merge it with peft first")
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
        alpha = alpha * math.sqrt(rank) if config.get("use_rslora") else alpha
        return Adapters(rank, alpha, ()), {name: t.float() for name, t in load_file(folder / WEIGHTS).items()}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"the adapters in {folder} are damaged: {error}", "save them again with peft") from error


def _placed(module: Any, adapters: Adapters, tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """The adapters by our names; a section without one gets one that changes nothing."""
    given = {re.sub(r"\.default\.weight$", ".weight", name.removeprefix(PREFIX)): t for name, t in tensors.items()}
    found: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, layer in module.named_modules():
        if not isinstance(layer, torch.nn.Linear) or not name.startswith("blocks."):
            continue
        places = [one.removesuffix(".weight") for one in names_of(f"{name}.weight")]
        if not any(f"{place}.lora_A.weight" in given for place in places):
            continue
        downs: list[Tensor] = []
        ups: list[Tensor] = []
        for place, rows in zip(places, sections_of(layer), strict=True):
            shapes = {"lora_A": (adapters.rank, layer.in_features), "lora_B": (rows, adapters.rank)}
            for (side, shape), held in zip(shapes.items(), (downs, ups), strict=True):
                full = f"{place}.{side}.weight"
                tensor = given.get(full, torch.zeros(shape))
                if tuple(tensor.shape) != shape:
                    raise RequestError(f"{full} in {folder} has the shape {tuple(tensor.shape)}, and {shape} fits here",
                                       "name the base model that it was trained on with --base")  # fmt: skip
                used.add(full)
                held.append(tensor)
        found[f"{name}.{A}"], found[f"{name}.{B}"] = torch.cat(downs), torch.cat(ups)
    if left := sorted(given.keys() - used):
        raise RequestError(f"{folder} adapts {left[0]}, which has no place here", "adapt linear layers of blocks alone")
    return found
