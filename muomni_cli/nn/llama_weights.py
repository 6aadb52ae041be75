"""Weights of Hugging Face checkpoints of Llama's kind, as those of a Thinker over :class:`Stack`, and back.

There, queries, keys and values are three matrices, as are gate and up: here each group is one. Shapes: V vocabulary,
D width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from muomni_cli.core.errors import RequestError
from muomni_cli.nn.checkpoint_files import weight_files
from muomni_cli.nn.llama_config import read_config
from muomni_cli.nn.transformer import FusedLinear

TABLE, HEAD = "tok_emb.weight", "lm_head.weight"
LAYERS = {  # module of a block -> modules there, whose outputs lie one after the other here
    "attention_norm": ("input_layernorm",),
    "attention.qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.q_norm": ("self_attn.q_norm",),
    "attention.k_norm": ("self_attn.k_norm",),
    "attention.out": ("self_attn.o_proj",),
    "mlp_norm": ("post_attention_layernorm",),
    "mlp.gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.down": ("mlp.down_proj",),
}
OUTER = {TABLE: "model.embed_tokens.weight", "norm.weight": "model.norm.weight", HEAD: HEAD}
UNUSED = re.compile(r"rotary_emb\.inv_freq$")  # of old checkpoints: computed from the config


def names_of(name: str) -> list[str]:
    """The names there of the tensor ``name`` here, or of its parts in order."""
    if name in OUTER:
        return [OUTER[name]]
    _, layer, rest = name.split(".", 2)
    module, _, kind = rest.rpartition(".")
    return [f"model.layers.{layer}.{one}.{kind}" for one in LAYERS[module]]


def sections_of(module: nn.Module, name: str) -> list[int]:
    """The rows of each part of the tensor ``name``."""
    owner = module.get_submodule(name.rpartition(".")[0])
    return list(owner.sections) if isinstance(owner, FusedLinear) else [len(module.get_parameter(name))]


def exported_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All weights by their names there; a tied head is left out."""
    found: dict[str, Tensor] = {}
    for name, tensor in module.named_parameters():
        parts = tensor.detach().split_with_sizes(sections_of(module, name))
        found |= zip(names_of(name), (part.contiguous() for part in parts), strict=True)
    return found


class WeightFiles:
    """The tensors of a checkpoint, in one file or several; a context manager. Nothing is unpickled.

    Raises:
        RequestError: a file is missing, damaged or not safetensors.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}

    def __enter__(self) -> WeightFiles:
        try:
            for path in weight_files(self.folder):
                file = self._stack.enter_context(safe_open(path, framework="pt"))
                self._files |= dict.fromkeys(file.keys(), file)
        except (SafetensorError, OSError) as error:
            self._stack.close()
            raise RequestError(
                f"the weights in {self.folder} are damaged: {error}", "copy the checkpoint again"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def names(self) -> set[str]:
        """Names of the tensors, as of a model with a head."""
        return {self._full(name) for name in self._files if not UNUSED.search(name)}

    def _full(self, name: str) -> str:
        return name if name.startswith(("model.", "lm_head.")) else f"model.{name}"

    def _file(self, name: str) -> tuple[Any, str]:
        own = name if name in self._files else name.removeprefix("model.")
        return self._files[own], own

    def shape(self, name: str) -> list[int]:
        file, own = self._file(name)
        return list(file.get_slice(own).get_shape())

    def read(self, name: str) -> Tensor:
        """The tensor in fp32. RequestError if its numbers are not floating point, or not finite."""
        file, own = self._file(name)
        tensor: Tensor = file.get_tensor(own)
        if not tensor.is_floating_point():
            raise RequestError(
                f"{name} in {self.folder} holds {tensor.dtype}", "name a checkpoint in fp32, fp16 or bf16"
            )
        tensor = tensor.float()
        if not torch.isfinite(tensor).all():
            raise RequestError(f"{name} in {self.folder} holds numbers that are not finite", "use another checkpoint")
        return tensor


def load_folder(module: nn.Module, folder: Path) -> int:
    """Load a checkpoint into a Thinker of the same sizes; returns the rows of its table.

    The module's table may have more rows than the checkpoint's, for new tokens: those start as the mean of the others,
    which stay bit for bit.

    Raises:
        RequestError: the sizes differ, or tensors are missing, unknown, of another shape or damaged.
    """
    found = read_config(folder)
    _require_same(module, found.settings, folder)
    wanted = {name: tensor.detach() for name, tensor in module.named_parameters()}
    with WeightFiles(folder) as files:
        theirs = {name: names_of(name) for name in wanted}
        known = {one for names in theirs.values() for one in names}
        spare = {HEAD} if HEAD not in wanted else set()  # tied, and yet stored by some
        if HEAD in known and HEAD not in files.names:
            raise RequestError(f"{HEAD} is missing in {files.folder}", "set tie_word_embeddings in its config.json")
        for kind, names in {"lack": known - files.names, "have the unknown": files.names - known - spare}.items():
            if names:
                raise RequestError(f"the weights in {files.folder} {kind} {min(names)}", "use another checkpoint")
        for name, tensor in wanted.items():
            _require_shapes(module, name, tensor, files)
        for name, tensor in wanted.items():
            whole = torch.cat([files.read(one) for one in theirs[name]])
            tensor[: len(whole)] = whole.to(tensor)
            tensor[len(whole) :] = whole.mean(0).to(tensor)  # no rows, but of a table
    return found.vocab_size


def _require_shapes(module: nn.Module, name: str, tensor: Tensor, files: WeightFiles) -> None:
    for one, rows in zip(names_of(name), sections_of(module, name), strict=True):
        there, here = files.shape(one), [rows, *tensor.shape[1:]]
        fits = there == here or (name in (TABLE, HEAD) and there[1:] == here[1:] and there[0] <= here[0])
        if not fits:
            raise RequestError(
                f"{one} in {files.folder} has the shape {there}, and this Thinker's is {here}",
                'use the checkpoint\'s own tokenizer: tokenizer.use = "hf", with its folder'
                if name in (TABLE, HEAD)
                else "use another checkpoint: its config.json does not describe it",
            )


def _require_same(module: nn.Module, theirs: Mapping[str, Any], folder: Path) -> None:
    config: Any = module.config
    given = {**theirs, "d_head": theirs.get("d_head"), "rope_scaling": theirs.get("rope_scaling"), "ctx_len": None}
    wanted = type(config).model_validate({**given, "ctx_len": config.ctx_len})
    same = wanted.model_dump(exclude={"weights", "dropout"})
    ours = config.model_copy(update={"n_kv_heads": config.kv_heads}).model_dump(exclude={"weights", "dropout"})
    if ours["d_head"] and not same["d_head"]:
        same["d_head"] = wanted.head_dim
    changed = [f"{name} = {value!r}" for name, value in same.items() if ours[name] != value]
    if changed:
        raise RequestError(
            f"the checkpoint in {folder} has other sizes than the recipe: {', '.join(changed)}",
            "leave them out of [thinker], which then takes them from the checkpoint",
        )


def tensors_by_layer(tensors: Mapping[str, Tensor]) -> Iterator[tuple[int | None, str, Tensor]]:
    """The tensors of :func:`exported_tensors` with their layer and their name within it (None: of no layer)."""
    for name, tensor in tensors.items():
        found = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
        yield (int(found[1]), found[2], tensor) if found else (None, name, tensor)
