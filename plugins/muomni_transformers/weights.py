"""Weights of a checkpoint in Hugging Face's format, loaded by transformers and looked at closely."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

from muomni_cli.api import RequestError, expand_path
from muomni_cli.nn.checkpoint_files import weight_files
from muomni_transformers.checkpoint_config import settings_of
from muomni_transformers.settings import CheckpointConfig


def load(module: nn.Module, config: CheckpointConfig) -> str:
    """Load what ``weights`` names, if anything, into an encoder; returns the folder. RequestError if the checkpoint is
    another than the settings describe, or is damaged."""
    if not config.weights:
        return ""
    folder = expand_path(config.weights)
    settings_of(config.family, folder)  # names what is not supported
    weight_files(folder)  # and what is missing, or would be unpickled
    encoder = cast("Any", module)
    loaded = _loaded(encoder, folder)
    encoder.tower.load_state_dict(without_weight_norm(loaded).state_dict())
    return config.weights


def _loaded(encoder: Any, folder: Path) -> nn.Module:
    """A tower with the checkpoint's weights, which are all there, of the right shapes, and finite."""
    tower = encoder.tower
    with _silent(), torch.random.fork_rng(devices=[]):
        try:
            loaded, found = type(tower).from_pretrained(
                str(folder),
                config=tower.config,
                key_mapping=dict(encoder.renamed) or None,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
        except Exception as error:  # of several kinds, for a damaged file or other shapes
            reason = " ".join(str(error).split())[:200]
            raise RequestError(f"the weights in {folder} do not fit: {reason}", "use another checkpoint") from error
    strange = sorted(name for name in found["unexpected_keys"] if not name.startswith(encoder.ignored))
    for what, names in (("lack", sorted(found["missing_keys"])), ("have the unknown", strange)):
        if names:
            raise RequestError(f"the weights in {folder} {what} {names[0]}", "use another checkpoint")
    for name, tensor in loaded.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise RequestError(f"{name} in {folder} holds numbers that are not finite", "use another checkpoint")
    return cast("nn.Module", loaded)


def without_weight_norm(tower: nn.Module) -> nn.Module:
    """``tower``, whose layers hold their weights in place of directions and lengths (arXiv:1602.07868), as far as
    PyTorch's parametrizations keep those."""
    for module in tower.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
    return tower


def load_tensors(tower: nn.Module, folder: Path, ignored: tuple[str, ...]) -> None:
    """Load safetensors whose names are those of ``tower``, but for those that begin with one of ``ignored``.
    RequestError if they are not all there, of the right shapes and finite, or others are."""
    given: dict[str, torch.Tensor] = {}
    try:
        for path in weight_files(folder):
            given |= load_file(path)
    except SafetensorError as error:
        raise RequestError(f"the weights in {folder} are damaged: {error}", "copy the checkpoint again") from error
    given = {name: tensor for name, tensor in given.items() if not name.startswith(ignored)}
    wanted = tower.state_dict()
    for what, names in (("lack", wanted.keys() - given.keys()), ("have the unknown", given.keys() - wanted.keys())):
        if names:
            raise RequestError(f"the weights in {folder} {what} {min(names)}", "use another checkpoint")
    for name, tensor in given.items():
        if tensor.shape != wanted[name].shape or not torch.isfinite(tensor).all():
            why = f"is of shape {tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            why = "holds numbers that are not finite" if tensor.shape == wanted[name].shape else why
            raise RequestError(f"{name} in {folder} {why}", "use another checkpoint")
    tower.load_state_dict(given)


@contextmanager
def _silent() -> Iterator[None]:
    """No lines and no progress bar of transformers: what matters is in the errors."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
