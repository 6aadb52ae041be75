"""Training of the codec: reconstruct the log-mel of crops of speech.

Shapes: B batch, N samples, M mel frames, F mel bins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, Loss, Sample
from muomni_cli.audio.mel import LogMel
from muomni_newpart.model import Newpart

if TYPE_CHECKING:
    from muomni_cli.api import StageContext


class ReconstructionObjective:
    """A :class:`muomni_cli.api.Objective`: reconstruction of log-mels."""

    unit = "seconds"
    adamw_params = frozenset({"inward.weight", "outward.weight"})

    def __init__(self, codec: Newpart, context: StageContext) -> None:
        self.module = codec
        self.blocks: Sequence[nn.Module] = ()
        self._settings, self._seed = context.settings, context.seed
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._mel = LogMel(codec.mel)

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step, random crops by seed, step and row: ``waves`` (B,N)."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares, config = self._settings.accumulate, self.module.config
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        size = config.crop * config.samples
        crops = [self._crop(chosen[row], size, np.random.default_rng([self._seed, step, row])) for row in rows]
        seconds = max(1, len(crops) * size // config.sample_rate)
        return Batch({"waves": torch.from_numpy(np.stack(crops))}, float(len(crops)), seconds)

    def loss(self, batch: Batch) -> Loss:
        """Mean absolute error of a row's log-mel in nats, summed over rows."""
        return Loss(self._errors(batch.tensors["waves"]).sum())

    def validate(self) -> dict[str, float]:
        """``loss`` of whole held-out sounds, and ``use``: the share of codes in use."""
        total, count, used = 0.0, 0, torch.zeros(self.module.codebooks, self.module.codebook_size, dtype=torch.bool)
        device = next(self.module.parameters()).device
        rows = itertools.chain.from_iterable(
            itertools.islice(self._val.batches(self._settings.batch_size), self._settings.val_batches or None)
        )
        with torch.no_grad():
            for row in rows:
                wave = np.array(self._val.inputs[row], np.float32)
                whole = torch.from_numpy(np.pad(wave, (0, -wave.size % self.module.config.samples)))[None].to(device)
                codes = self.module.encode(self.module.windows(self._heard(whole)))[0].cpu()
                used[torch.arange(self.module.codebooks), codes] = True
                total += self._errors(whole).sum().item()
                count += 1
        return {"loss": total / max(count, 1), "use": used.float().mean().item()}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """None: listening needs a vocoder."""
        return ()

    def _errors(self, waves: Tensor) -> Tensor:
        mel = self._heard(waves)
        return (self.module(mel) - mel).float().abs().mean((1, 2))  # type: ignore[no-any-return]

    def _heard(self, waves: Tensor) -> Tensor:
        return self._mel.to(waves.device)(waves)  # type: ignore[no-any-return]

    def _crop(self, index: int, size: int, random: np.random.Generator) -> NDArray[np.float32]:
        """A random crop (N,) of a sound, padded with silence."""
        wave = self._train.inputs[index]
        begin = int(random.integers(max(0, wave.size - size) + 1))
        piece: NDArray[np.float32] = np.array(wave[begin : begin + size], np.float32)
        return np.pad(piece, (0, size - piece.size))
