"""Training of the vocoder: reconstruct crops of speech from their log-mel.

Shapes: B batch, N samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
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

LENGTHS = (0.5, 1.0, 2.0)
"""Window lengths of the spectral loss, relative to the mel's."""


class Training(nn.Module):
    """Everything that is trained or must be on the device. The host saves ``vocoder``."""

    def __init__(self, vocoder: Newpart) -> None:
        super().__init__()
        self.vocoder, self.mel = vocoder, LogMel(vocoder.mel)


class VocoderObjective:
    """A :class:`muomni_cli.api.Objective`: waveforms from their log-mel."""

    unit = "seconds"
    blocks: Sequence[nn.Module] = ()

    def __init__(self, vocoder: Newpart, context: StageContext) -> None:
        self.module = Training(vocoder)
        self.adamw_params = frozenset(name for name, _ in self.module.named_parameters() if "spectrum" in name)
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._settings, self._seed = context.settings, context.seed

    def batch(self, step: int, micro: int) -> Batch:
        """Micro-batch ``micro`` of the step, random crops by seed, step and row: ``waves`` (B,N)."""
        chosen = self._train.batch(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        waves = np.stack([self._crop(chosen[row], np.random.default_rng([self._seed, step, row])) for row in rows])
        seconds = max(1, round(waves.size / self.module.vocoder.mel.sample_rate))
        return Batch({"waves": torch.from_numpy(waves)}, float(len(rows)), seconds)

    def loss(self, batch: Batch) -> Loss:
        """Spectral distance to the true sounds, summed over rows."""
        true = batch.tensors["waves"]
        return Loss(self._apart(self.module.vocoder(self.module.mel(true)), true).sum())

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """``loss`` of whole held-out sounds, and ``mel_distance`` of their log-mels, in nats."""
        sums, count = torch.zeros(2), 0
        for rows in islice(self._val.batches(self._settings.batch_size), self._settings.val_batches or None):
            for row in rows:
                true = self._whole(self._val.inputs[row])
                mel = self.module.mel(true)
                made = self.module.vocoder(mel)
                sums += torch.stack([self._apart(made, true)[0], (self.module.mel(made) - mel).abs().mean()]).cpu()
                count += 1
        loss, distance = (sums / max(count, 1)).tolist()
        return {"loss": loss, "mel_distance": distance}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """None; use `muomni tts`."""
        return ()

    def _apart(self, made: Tensor, true: Tensor) -> Tensor:
        """(B,) spectral convergence and distance of log-magnitudes, at several resolutions (arXiv:1910.11480)."""
        mel, total = self.module.vocoder.mel, made.new_zeros(made.shape[0])
        for length in LENGTHS:
            size = max(8, round(mel.n_fft * length))
            window = torch.hann_window(size, device=made.device)
            one, other = (
                torch.stft(x.float(), size, size // 4, window=window, pad_mode="constant", return_complex=True)
                for x in (made, true)
            )
            one, other = ((x.real.square() + x.imag.square() + mel.mel_floor).sqrt() for x in (one, other))
            total = total + (one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2))
            total = total + (one.log() - other.log()).abs().mean((1, 2))
        return total / len(LENGTHS)

    def _crop(self, index: int, random: np.random.Generator) -> NDArray[np.float32]:
        """A random crop (N,) of a sound, padded with silence."""
        wave, size = self._train.inputs[index], self.module.vocoder.config.crop * self.module.vocoder.mel.hop
        begin = int(random.integers(max(0, wave.size - size) + 1))
        piece = np.asarray(wave[begin : begin + size], np.float32)
        return np.pad(piece, (0, size - piece.size))

    def _whole(self, wave: NDArray[np.float32]) -> Tensor:
        """(1,N) on the device, padded with silence to whole mel frames."""
        filled = np.pad(np.asarray(wave, np.float32), (0, -wave.size % self.module.vocoder.mel.hop))
        return torch.from_numpy(filled)[None].to(next(self.module.parameters()).device)
