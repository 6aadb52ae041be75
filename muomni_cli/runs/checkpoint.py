"""Checkpoints (one safetensors file each, written by rename, never pickled) and trained parts as PyTorch modules."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muomni_cli.contract.codecs import code_shape
from muomni_cli.contract.declarations import Capability, EncoderPart, Part, VocoderPart
from muomni_cli.contract.speech import Codec
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.nn.lora import Adapters, has_adapters, merged_weights
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.model import PartSpec, Recipe
from muomni_cli.recipe.stages import OMNI
from muomni_cli.registry.entries import build_arguments, open_entry
from muomni_cli.registry.registry import RegisteredPart, resolve
from muomni_cli.runs.digests import require_tensors, seal_checkpoint
from muomni_cli.runs.references import fill, reference_of
from muomni_cli.runs.run import RunFolder, checkpoint_metadata, read_header

# Prefix of a part's weights in the checkpoints of its own stage.
PREFIXES: dict[type[Part], str] = {EncoderPart: "encoder.", VocoderPart: "vocoder."}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory: header, and tensors by full name on the CPU."""

    path: Path
    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def section(self, name: str) -> dict[str, Tensor]:
        """The tensors under ``name.``, without that prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def write_checkpoint(path: Path, header: Mapping[str, Any], sections: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``sections`` to ``path``. MuomniError if the disk is full, which leaves an old checkpoint untouched."""
    tensors = {
        f"{section}.{name}": tensor.detach().cpu().contiguous().clone()
        for section, named in sections.items()
        for name, tensor in named.items()
    }
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, checkpoint_metadata(header))
        except SafetensorError as error:  # how the library reports a full disk
            code = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from error
        seal_checkpoint(temporary)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint to the CPU. RequestError as of :func:`~muomni_cli.runs.run.read_header`, or if its
    tensors are damaged."""
    header = read_header(path)
    require_tensors(path, header)
    return Checkpoint(path, header, load_file(path))


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state; tied weights appear once, under their first name. Modules whose weights are elsewhere
    (:mod:`muomni_cli.runs.references`) are left out."""
    seen: set[tuple[int, torch.Size]] = set()
    found: dict[str, Tensor] = {}
    elsewhere = tuple(f"{name}." if name else "" for name, part in module.named_modules() if reference_of(part))
    for name, tensor in module.state_dict().items():
        if name.startswith(elsewhere):
            continue
        place = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() == 0 or place not in seen:
            found[name] = tensor
        seen.add(place)
    return found


def load_model(module: nn.Module, checkpoint: Checkpoint, *, ema: bool = False, prefix: str = "") -> None:
    """Load a checkpoint's weights into ``module``, averaged ones (``ema``) if there are any, with adapters added
    to the weights they adapt unless the module has adapters itself.

    ``prefix``: of this module's weights in the checkpoint. RequestError if names or shapes do not match.
    """
    wanted = model_tensors(module)
    given = checkpoint.section("model")
    if ema:
        given |= checkpoint.section("ema")
    given = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
    if has_adapters(given) and not has_adapters(wanted):
        given = merged_weights(module, given, Adapters.of(checkpoint.header["lora"]).scale)
    wrong = sorted(
        {n for n, t in wanted.items() if n not in given or given[n].shape != t.shape} | (given.keys() - wanted.keys())
    )
    if wrong:
        raise RequestError(
            f"{checkpoint.path} does not fit this model: {len(wrong)} tensors differ, among them {wrong[0]!r}",
            "use the recipe in the checkpoint's own run folder, or train again with --force",
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(given[name])


def build_part(registered: RegisteredPart, config: Any, entry: Mapping[str, Any]) -> Any:
    """A part with random weights, from its entry in ``model.json``."""
    part = registered.part
    return resolve(part.build, f"{part.kind} {part.name}")(config, **build_arguments(entry))


def build_aside(registered: RegisteredPart, config: Any, entry: Mapping[str, Any]) -> Any:
    """:func:`build_part` without changing torch's random state, so that training stays reproducible."""
    with torch.random.fork_rng(devices=[]):
        return build_part(registered, config, entry)


def build_without_memory(registered: RegisteredPart, config: Any, entry: Mapping[str, Any]) -> Any:
    """A part for its shapes only, whatever its size: on the device ``meta`` if its code allows that. RequestError if
    its settings ask for what cannot be built."""
    try:
        with torch.device("meta"), suppress(NotImplementedError, RuntimeError, TypeError):
            return build_aside(registered, config, entry)
        return build_aside(registered, config, entry)
    except (MemoryError, OverflowError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise RequestError(
            f"the {registered.part.kind} {registered.use} cannot be built: {reason[:200]}", "make its sizes smaller"
        ) from error


def weights_of(run: RunFolder, stage: str, command: str) -> Path:
    """The checkpoint of a stage: the best, else the last. RequestError, naming ``command``, if there is none."""
    if found := run.checkpoint(stage):
        return found
    raise RequestError(f"run {run.root} has no trained {stage} yet", f"train it first: {command}")


def open_part(run: RunFolder, stage: str, command: str) -> tuple[nn.Module, Path]:
    """A stage's part with its weights (averaged if possible), and the checkpoint. RequestError if it is not trained."""
    _, _, entry = run.part(stage, command)
    weights = weights_of(run, stage, command)
    return load_part(entry, weights), weights


def load_part(entry: Mapping[str, Any], weights: Path) -> nn.Module:
    """A part with the weights of its stage's checkpoint, averaged if possible, or those that its entry refers to."""
    registered, config = open_entry(entry)
    module: nn.Module = build_aside(registered, config, entry)
    fill(module, entry)
    prefix = next((prefix for kind, prefix in PREFIXES.items() if isinstance(registered.part, kind)), "")
    load_model(module, read_checkpoint(weights), ema=True, prefix=prefix)
    return module


def omni_entries(run: RunFolder, weights: Path | None = None) -> dict[str, dict[str, Any]]:
    """Entries of the parts that the omni stage trains: ``thinker``, and the encoders in order. ``weights``: a
    checkpoint of that stage, or of ``dpo``, which has the same form."""
    stage = OMNI if weights is None else weights.resolve().parent.name
    entries: dict[str, dict[str, Any]] = run.model()["stages"].get(stage, {}).get("parts", {})
    return entries


def open_omni(run: RunFolder, weights: Path) -> OmniModel:
    entries = omni_entries(run, weights)
    made = {name: build_part(*open_entry(entry), entry) for name, entry in entries.items()}
    for name, entry in entries.items():
        fill(made[name], entry)
    omni = OmniModel(made.pop("thinker"), made)
    load_model(omni, read_checkpoint(weights), ema=True)
    return omni


def fresh_codec(recipe: Recipe) -> Codec:
    """The recipe's codec with random weights. RequestError if it has none."""
    if recipe.codec is None:
        raise RequestError(
            f"recipe {recipe.name} has no codec, which speech requires", 'add a table [codec] with use = "..."'
        )
    codec: Codec = build_aside(recipe.codec.registered, recipe.codec.config, {})
    return codec


def parameters_of(recipe: Recipe) -> dict[str, int]:
    """Parameters of each part of a recipe, and of the projectors, with one voice and the full vocabulary. RequestError
    if a part cannot be built."""
    found: dict[str, int] = {}

    def build(name: str, chosen: PartSpec, entry: dict[str, Any]) -> Any:
        module = build_without_memory(chosen.registered, chosen.config, entry)
        found[name] = sum(p.numel() for p in module.parameters())
        return module

    width = 0 if recipe.thinker is None else int(getattr(recipe.thinker.config, "d_model", 0))
    if recipe.thinker is not None and recipe.tokenizer is not None:
        config, part = recipe.tokenizer.config, recipe.tokenizer.registered.part
        size = getattr(config, "vocab_size", None)
        if size is None and part.objective is not None and Capability.TRAINABLE not in part.capabilities:
            size = resolve(part.objective, f"tokenizer {part.name}")(config, iter(())).vocab_size
        build("thinker", recipe.thinker, {"vocab_size": int(size or 0)})
    encoders = [build(name, chosen, {}) for name, chosen in recipe.encoders.items()]
    if encoders and width:
        found["projectors"] = sum((int(encoder.width) + 1) * width for encoder in encoders)
    if recipe.codec is not None:
        codec = build("codec", recipe.codec, {})
        if recipe.vocoder is not None:
            build("vocoder", recipe.vocoder, {"mel": codec.mel.model_dump(mode="json")})
        if recipe.talker is not None:
            entry = {"codes": asdict(code_shape(codec)), "voices": [""], "thinker_width": width}
            build("talker", recipe.talker, entry)
    return found
