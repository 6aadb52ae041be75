"""The checkpoint format (one safetensors file, written by rename, never pickled), and parts of a run as PyTorch
modules with their trained weights.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muomni_cli.contract.declarations import Capability, EncoderPart, Part, VocoderPart
from muomni_cli.contract.speech import Codec
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.omni.model import OmniModel
from muomni_cli.recipe.model import PartSpec, Recipe
from muomni_cli.registry.registry import RegisteredPart, resolve
from muomni_cli.runs.run import ENTRY, FORMAT, RunFolder, build_arguments, code_shape, open_entry, read_header

PREFIXES: dict[type[Part], str] = {EncoderPart: "encoder.", VocoderPart: "vocoder."}
"""What the names of a part's weights begin with in its own stage's checkpoints; see the declarations."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory: its header, and its tensors by full name, on the CPU."""

    path: Path
    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def section(self, name: str) -> dict[str, Tensor]:
        """The tensors under ``name.``, without that prefix."""
        prefix = f"{name}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


def write_checkpoint(path: Path, header: Mapping[str, Any], sections: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write ``sections`` to ``path``.

    Raises:
        MuomniError: if the disk is full; a checkpoint that was there before is untouched.
    """
    tensors = {
        f"{section}.{name}": tensor.detach().cpu().contiguous().clone()
        for section, named in sections.items()
        for name, tensor in named.items()
    }
    metadata = {ENTRY: json.dumps({"format": FORMAT, **header}, ensure_ascii=False, default=str)}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # how the library reports a full disk
            code = re.search(r"\(os error (\d+)\)", str(error))
            raise (OSError(int(code[1]), os.strerror(int(code[1]))) if code else OSError(str(error))) from error


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint to the CPU.

    Raises:
        RequestError: as :func:`~muomni_cli.runner.run.read_header`.
    """
    header = read_header(path)
    return Checkpoint(path, header, load_file(path))


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The module's state; weights that are tied appear once, under their first name."""
    seen: set[tuple[int, torch.Size]] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape)
        if tensor.numel() == 0 or place not in seen:
            found[name] = tensor
        seen.add(place)
    return found


def load_model(module: nn.Module, checkpoint: Checkpoint, *, ema: bool = False, prefix: str = "") -> None:
    """Put a checkpoint's weights into ``module``; with ``ema``, their average where the checkpoint has one.

    Args:
        module: what to fill.
        checkpoint: of this module, or of one that holds it.
        ema: see above.
        prefix: what the names of this module's weights begin with in the checkpoint.

    Raises:
        RequestError: if the weights are those of a model of another shape.
    """
    wanted = model_tensors(module)
    given = checkpoint.section("model")
    if ema:
        given |= checkpoint.section("ema")
    given = {name.removeprefix(prefix): tensor for name, tensor in given.items() if name.startswith(prefix)}
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


def rng_tensors(device: torch.device) -> dict[str, Tensor]:
    """State of the random generators that layers draw from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def load_rng(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Take the generators back to where :func:`rng_tensors` saw them. A device without a state keeps its own."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def build_part(registered: RegisteredPart, config: Any, entry: Mapping[str, Any]) -> Any:
    """A part with fresh weights, from what ``model.json`` says of it."""
    part = registered.part
    return resolve(part.build, f"{part.kind} {part.name}")(config, **build_arguments(entry))


def build_aside(registered: RegisteredPart, config: Any, entry: Mapping[str, Any]) -> Any:
    """:func:`build_part` that leaves torch's random numbers as they were, so that a training in which it happens goes
    on alike, whenever it happens."""
    with torch.random.fork_rng(devices=[]):
        return build_part(registered, config, entry)


def weights_of(run: RunFolder, stage: str, command: str) -> Path:
    """The checkpoint of a stage that others build on: the best, else the last.

    Raises:
        RequestError: there is none; ``command`` is what makes it.
    """
    found = run.checkpoint(stage)
    if found is None:
        raise RequestError(f"run {run.root} has no trained {stage} yet", f"train it first: {command}")
    return found


def open_part(run: RunFolder, stage: str, command: str) -> tuple[nn.Module, Path]:
    """The part that a stage trained, and its checkpoint; averaged weights where there are some.

    Raises:
        RequestError: it has not been trained; ``command`` trains it.
    """
    _, _, entry = run.part(stage, command)
    weights = weights_of(run, stage, command)
    return load_part(entry, weights), weights


def load_part(entry: Mapping[str, Any], weights: Path) -> nn.Module:
    """A part with the weights of its own stage's checkpoint; averaged weights where there are some."""
    registered, config = open_entry(entry)
    module: nn.Module = build_aside(registered, config, entry)
    prefix = next((prefix for kind, prefix in PREFIXES.items() if isinstance(registered.part, kind)), "")
    load_model(module, read_checkpoint(weights), ema=True, prefix=prefix)
    return module


def omni_entries(run: RunFolder) -> dict[str, dict[str, Any]]:
    """What the omni stage says of the parts that it trained together: ``thinker``, and its encoders in their order."""
    entries: dict[str, dict[str, Any]] = run.model()["stages"].get("omni", {}).get("parts", {})
    return entries


def open_omni(run: RunFolder, weights: Path) -> OmniModel:
    """The whole model as the omni stage left it in ``weights``."""
    made = {name: build_part(*open_entry(entry), entry) for name, entry in omni_entries(run).items()}
    omni = OmniModel(made.pop("thinker"), made)
    load_model(omni, read_checkpoint(weights), ema=True)
    return omni


def fresh_codec(recipe: Recipe) -> Codec:
    """The recipe's codec with random weights. RequestError if it names none."""
    codec: Codec = build_aside(codec_of(recipe).registered, codec_of(recipe).config, {})
    return codec


def codec_of(recipe: Recipe) -> PartSpec:
    """The codec that a recipe selects. RequestError if it names none."""
    if recipe.codec is None:
        raise RequestError(
            f"recipe {recipe.name} has no codec, which speech needs", 'add a table [codec] with use = "..."'
        )
    return recipe.codec


def parameters_of(recipe: Recipe) -> dict[str, int]:
    """Parameters of each part that the recipe names, and of the projectors from encoders to the Thinker.

    The Talker is counted with one voice, the Thinker with all ids that the tokenizer may have.

    Raises:
        RequestError: a part cannot be built from its settings.
    """
    with torch.random.fork_rng(devices=[]):
        return {name: sum(p.numel() for p in module.parameters()) for name, module in _modules(recipe)}


def _modules(recipe: Recipe) -> Iterator[tuple[str, nn.Module]]:
    width = 0 if recipe.thinker is None else int(getattr(recipe.thinker.config, "d_model", 0))
    if recipe.thinker is not None and recipe.tokenizer is not None:
        yield "thinker", _build(recipe.thinker, {"vocab_size": _vocabulary(recipe.tokenizer)})
    encoders = {name: _build(chosen, {}) for name, chosen in recipe.encoders.items()}
    yield from encoders.items()
    if encoders and width:
        yield "projectors", nn.ModuleList(nn.Linear(int(one.width), width) for one in encoders.values())
    if recipe.codec is None:
        return
    codec = _build(recipe.codec, {})
    yield "codec", codec
    if recipe.vocoder is not None:
        yield "vocoder", _build(recipe.vocoder, {"mel": codec.mel.model_dump(mode="json")})
    if recipe.talker is not None:
        told = {"codes": asdict(code_shape(codec)), "voices": [""], "thinker_width": width}
        yield "talker", _build(recipe.talker, told)


def _build(chosen: PartSpec, entry: dict[str, Any]) -> Any:
    return build_part(chosen.registered, chosen.config, entry)


def _vocabulary(tokenizer: PartSpec) -> int:
    """How many ids there may be: as the config says, or as a tokenizer has that learns none."""
    size = getattr(tokenizer.config, "vocab_size", None)
    part = tokenizer.registered.part
    if size is None and part.objective is not None and Capability.TRAINABLE not in part.capabilities:
        size = resolve(part.objective, f"tokenizer {part.name}")(tokenizer.config, iter(())).vocab_size
    return int(size or 0)
