"""How a vocoder learns by itself: the mel of a crop of speech, and the crop that it must become again.

Knows the host's examples and codec, not files or optimisers.

Shapes: B batch, N samples, M mel frames, F mel bins.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import soundfile  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, Codec, Loss, Sample
from muomni_cli.sound.mel import LogMel
from muomni_vocoders.judge import Judge
from muomni_vocoders.losses import SpectralLoss
from muomni_vocoders.vocos import Vocos

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

SHOWN = 3
"""Sounds in a sample."""


class Training(nn.Module):
    """The vocoder, and the judge if there is one."""

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder = vocoder
        gan = vocoder.config.gan
        self.judge = None if gan.use == "none" else Judge(gan, vocoder.mel)
        self.distance = SpectralLoss(vocoder.mel, vocoder.config.mel_weight)
        self.mel = LogMel(vocoder.mel)


class Sounding:
    """An :class:`muomni_cli.api.Objective`: waveforms from their own mel, or from what the codec makes of it."""

    unit = "seconds"
    adam_only = frozenset({"vocoder.head.weight"})

    def __init__(self, vocoder: Vocos, context: StageContext) -> None:
        self.module = Training(vocoder)
        self.blocks: Sequence[nn.Module] = ()
        self._settings, self._seed = context.settings, context.seed
        self._codec: Codec | None = context.codec() if vocoder.config.codec else None
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._step = vocoder.mel.hop * (self._codec.frame if self._codec else 1)  # samples of the smallest crop

    def batch(self, step: int, micro: int) -> Batch:
        """Share ``micro`` of the step's ``batch_size`` crops, each from where its row and the step have it: ``waves``
        (B,N)."""
        chosen = self._train.draw(step, self._settings.batch_size)
        shares = self._settings.accumulate
        rows = range(len(chosen) * micro // shares, len(chosen) * (micro + 1) // shares)
        vocoder = self.module.vocoder
        samples = self._filled(vocoder.config.crop * vocoder.mel.hop)
        crops = [
            crop(self._train.inputs[chosen[row]], samples, np.random.default_rng([self._seed, step, row]))
            for row in rows
        ]
        seconds = max(1, round(len(crops) * samples / vocoder.mel.sample_rate))
        return Batch({"waves": torch.from_numpy(np.stack(crops))}, float(len(crops)), seconds)

    def loss(self, batch: Batch) -> Loss:
        """Summed over the rows: how far the sounds lie from the true ones, and what the judge says if there is one."""
        true = batch.tensors["waves"]
        made = self.module.vocoder(self._heard(true))
        loss, mel_distance = self.module.distance(made, true)
        logs = {"mel_distance": mel_distance.sum().detach()}
        if self.module.judge is not None:
            contest = self.module.judge.contest(made, true)
            logs |= {"distance": loss.sum().detach(), "judge": contest.judge.sum().detach()}
            loss = loss + contest.vocoder + contest.judge
        return Loss(loss.sum(), logs)

    def validate(self) -> dict[str, float]:
        """``loss`` without the judge's, and ``mel_distance`` in nats, of whole held-out sounds."""
        sums, count = torch.zeros(2, dtype=torch.float64), 0
        batches = self._val.every(self._settings.batch_size)
        for rows in itertools.islice(batches, self._settings.val_batches or None):
            for row in rows:  # one by one: silence after a shorter sound would count as sound that is right
                true, made = self._resounded(row)
                sums += torch.stack(self.module.distance(made, true)).sum(1).double().cpu()
                count += 1
        loss, distance = (sums / max(count, 1)).tolist()
        return {"loss": loss, "mel_distance": distance}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A few held-out sounds as the vocoder makes them."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        for place, row in enumerate(rows):
            _, made = self._resounded(row)
            yield Sample(f"{place}.wav", wav(made[0].cpu().numpy(), self.module.vocoder.mel.sample_rate))

    @torch.no_grad()
    def _resounded(self, row: int) -> tuple[Tensor, Tensor]:
        """(1,N) and (1,N): a held-out sound, and what the vocoder makes of its mel."""
        wave = self._val.inputs[row]
        true = torch.from_numpy(np.array(padded(wave, self._filled(wave.size)), np.float32))[None]
        true = true.to(self.module.vocoder.window.device)
        return true, self.module.vocoder(self._heard(true))

    @torch.no_grad()
    def _heard(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,M,F) the mel that the vocoder is given."""
        mel: Tensor = self.module.mel(waves)
        if self._codec is None:
            return mel
        return self._codec.expand(self._codec.decode(self._codec.encode(self._codec.windows(mel))))

    def _filled(self, samples: int) -> int:
        """At least so many samples, in whole mel frames, of the codec's if it takes part."""
        return max(1, -(-samples // self._step)) * self._step


def crop(wave: NDArray[np.float32], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(N,) -> (samples,) from somewhere in it, with silence after it if it is shorter."""
    begin = int(rng.integers(max(0, wave.size - samples) + 1))
    return padded(wave[begin : begin + samples], samples)


def padded(wave: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """(N,) -> (samples,) with silence after it."""
    return np.pad(wave, (0, samples - wave.size))


def wav(samples: NDArray[np.float32], rate: int) -> bytes:
    """A WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, samples.clip(-1, 1), rate, format="WAV", subtype="PCM_16")
    return file.getvalue()
