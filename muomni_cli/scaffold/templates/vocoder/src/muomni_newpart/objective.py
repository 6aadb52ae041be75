"""How the vocoder learns: the mel of a crop of speech must become that crop again, as spectra tell sounds apart.

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
from muomni_cli.sound.mel import LogMel
from muomni_newpart.model import Newpart

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

FACTORS = (0.5, 1.0, 2.0)
"""Lengths of the transforms that sounds are compared by, relative to the mel's own."""


class Training(nn.Module):
    """All that is trained and saved: the vocoder, under this name."""

    def __init__(self, vocoder: Newpart) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.mel = LogMel(vocoder.mel)


class Sounding:
    """An :class:`muomni_cli.api.Objective`: spectra at several resolutions (arXiv:1910.11480), and log-mel."""

    unit = "seconds"
    adam_only = frozenset({"vocoder.stack.layers.0.weight"})

    def __init__(self, vocoder: Newpart, context: StageContext) -> None:
        self.module = Training(vocoder)
        self.blocks: Sequence[nn.Module] = ()
        self._settings, self._seed = context.settings, context.seed
        data = context.examples()
        self._train, self._val = data.train, data.val

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's crops, each from where its row and the step have it: ``waves`` (B,N)."""
        chosen = self._train.draw(step, self._settings.batch_size)
        shares, mel = self._settings.accumulate, self.module.vocoder.mel
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        size = self.module.vocoder.config.crop * mel.hop
        crops = [self._crop(chosen[row], size, np.random.default_rng([self._seed, step, row])) for row in rows]
        seconds = max(1, len(crops) * size // mel.sample_rate)
        return Batch({"waves": torch.from_numpy(np.stack(crops))}, float(len(crops)), seconds)

    def loss(self, batch: Batch) -> Loss:
        """Summed over the rows."""
        return Loss(self._distances(batch.tensors["waves"]).sum())

    def validate(self) -> dict[str, float]:
        """``loss`` of whole held-out sounds."""
        total, count, hop = 0.0, 0, self.module.vocoder.mel.hop
        device = next(self.module.parameters()).device
        rows = itertools.chain.from_iterable(
            itertools.islice(self._val.every(self._settings.batch_size), self._settings.val_batches or None)
        )
        with torch.no_grad():
            for row in rows:
                wave = np.array(self._val.inputs[row], np.float32)
                whole = np.pad(wave, (0, -wave.size % hop))
                total += self._distances(torch.from_numpy(whole)[None].to(device)).sum().item()
                count += 1
        return {"loss": total / max(count, 1)}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """None; `muomni tts` says more."""
        return ()

    def _distances(self, true: Tensor) -> Tensor:
        """(B,N) sounds -> (B,), how far what is made of their mel lies from each."""
        mel = self.module.mel(true)
        made = self.module.vocoder(mel).float()
        total: Tensor = (self.module.mel(made) - mel).abs().mean((1, 2))
        for factor in FACTORS:
            size = 4 * max(2, round(self.module.vocoder.mel.n_fft * factor / 4))
            one, other = (_spectrum(waves, size) for waves in (made, true))
            total = total + (one.log() - other.log()).abs().mean((1, 2)) / len(FACTORS)
            total = total + (one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2)) / len(FACTORS)
        return total

    def _crop(self, index: int, size: int, random: np.random.Generator) -> NDArray[np.float32]:
        """(N,) from somewhere in a sound, with silence after it if it is shorter."""
        wave = self._train.inputs[index]
        begin = int(random.integers(max(0, wave.size - size) + 1))
        piece: NDArray[np.float32] = np.array(wave[begin : begin + size], np.float32)
        return np.pad(piece, (0, size - piece.size))


def _spectrum(waves: Tensor, size: int) -> Tensor:
    window = torch.hann_window(size, device=waves.device)
    found = torch.stft(waves, size, size // 4, window=window, pad_mode="constant", return_complex=True)
    return (found.real.square() + found.imag.square() + 1e-5).sqrt()
