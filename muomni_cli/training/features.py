"""The tokens of frozen encoders, computed once: joint tuning then reads them in place of pictures and sounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.core.files import cache_folder, cached_folder, fingerprint_of
from muomni_cli.data.media import Inputs, InputsWriter, open_inputs
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.model import Recipe
from muomni_cli.runs.references import reference_of

FORMAT = 1  # incremented when the features of the same weights and inputs change
AT_ONCE = 8  # inputs in one batch
NAME, INDEX = "tokens", "features.json"


def open_features(
    recipe: Recipe,
    omni: OmniModel,
    modality: str,
    inputs: Inputs,
    data: str,
    device: torch.device,
    progress: Callable[[str], None],
) -> Sequence[NDArray[np.float32]] | None:
    """(T,W) tokens of each input by an encoder whose weights are referred to, from the cache or computed now; None for
    another encoder. ``data``: fingerprint of the inputs. MuomniError if the cache cannot be written."""
    encoder: Any = omni.encoders[modality]
    reference, chosen = reference_of(encoder), recipe.encoders[modality]
    if reference is None or not len(inputs):
        return None
    settings = chosen.config.model_dump(mode="json", exclude=set(chosen.registered.part.config.training_only))
    part = [chosen.registered.plugin.version, chosen.registered.full_name, settings]
    folder = cache_folder() / "features" / fingerprint_of([FORMAT, modality, part, reference.sha256, data])

    def make(partial: Path) -> int:
        progress(f"{modality}: computing the features of {len(inputs):,} inputs once")
        encoder.to(device).eval()
        with closing(InputsWriter(partial / NAME)) as writer:
            for begin in range(0, len(inputs), AT_ONCE):
                for tokens in encoded(encoder, inputs[begin : begin + AT_ONCE], device):
                    writer.append(tokens)
        return len(inputs)

    cached_folder(folder, INDEX, f"the features of {modality}", make)
    return open_inputs(folder / NAME)


@torch.no_grad()
def encoded(encoder: Any, arrays: Sequence[NDArray[Any]], device: torch.device) -> list[NDArray[np.float32]]:
    """(T,W) tokens of each input, in one batch."""
    lengths = [len(array) for array in arrays]
    rows = np.zeros((len(arrays), max(lengths), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    output = encoder(torch.from_numpy(rows).to(device), lengths)
    tokens = output.tokens.float().cpu().numpy()
    return [tokens[row, :count].copy() for row, count in enumerate(output.lengths)]
