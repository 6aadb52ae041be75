"""Training of a vocoder: crops of audio through mel and back, with a multi-resolution spectral loss and, if configured,
a spectrogram discriminator (UnivNet, arXiv:2106.07889, made small) that is trained in the same step.

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
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from muomni_cli.api import Batch, Codec, Loss, MelConfig, Sample
from muomni_cli.audio.mel import LogMel
from muomni_cli.nn.collectives import share, totals
from muomni_vocoders.plugin import GanConfig
from muomni_vocoders.vocos import Vocos

if TYPE_CHECKING:
    from muomni_cli.api import StageContext

FACTORS = (0.5, 1.0, 2.0)  # transform lengths, relative to the mel's own
OVERLAP = 4  # frames over each sample
SLOPE = 0.1  # of the leaky ReLU
SHOWN = 3  # files per sample

# For each resolution the outputs of its layers; the last is the score at each position.
DiscriminatorOutput = list[list[Tensor]]


class Spectra(nn.Module):
    """Magnitude spectrograms at several resolutions (arXiv:1910.11480)."""

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.sizes = [max(2 * OVERLAP, round(mel.n_fft * factor)) for factor in FACTORS]
        self.floor = mel.mel_floor
        for size in self.sizes:
            self.register_buffer(f"window{size}", torch.hann_window(size), persistent=False)

    def forward(self, waves: Tensor) -> list[Tensor]:
        """(B,N) -> magnitudes, (B, frequencies, frames) each."""
        magnitudes = []
        for size in self.sizes:
            window, hop = self.get_buffer(f"window{size}"), size // OVERLAP
            found = torch.stft(waves, size, hop, window=window, center=True, pad_mode="constant", return_complex=True)
            magnitudes.append((found.real.square() + found.imag.square() + self.floor).sqrt())
        return magnitudes


class SpectralLoss(nn.Module):
    """Spectral convergence and log-magnitude distance at several resolutions, and log-mel distance. The loss of a row
    does not depend on others, so that gradient accumulation changes nothing."""

    def __init__(self, mel: MelConfig, mel_weight: float) -> None:
        super().__init__()
        self.spectra, self.mel, self.mel_weight = Spectra(mel), LogMel(mel), mel_weight

    def forward(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """(B,N), (B,N) -> (B,) loss, and (B,) mean distance of log-mels, in nats."""
        total = made.new_zeros(made.shape[0])
        pairs = list(zip(self.spectra(made), self.spectra(true), strict=True))
        for one, other in pairs:
            convergence = (one - other).norm(dim=(1, 2)) / other.norm(dim=(1, 2))
            total = total + (convergence + (one.log() - other.log()).abs().mean((1, 2))) / len(pairs)
        distance = (self.mel(made) - self.mel(true)).abs().mean((1, 2))
        return total + self.mel_weight * distance, distance


class ResolutionDiscriminator(nn.Module):
    """(B,1,frames,frequencies) log-magnitudes -> each layer's output; all but the last halve the frequencies."""

    def __init__(self, config: GanConfig) -> None:
        super().__init__()
        widths = [1] + [config.channels] * config.layers
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, (3, 9), stride=(1, 2), padding=(1, 4))
            for before, after in itertools.pairwise(widths)
        )
        self.out = nn.Conv2d(config.channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            found.append(x)
        return [*found, self.out(x)]


class Discriminator(nn.Module):
    """(B,N) waveforms -> the layer outputs of each resolution."""

    def __init__(self, config: GanConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.spectra = config, Spectra(mel)
        self.resolutions = nn.ModuleList(ResolutionDiscriminator(config) for _ in self.spectra.sizes)

    def forward(self, waves: Tensor) -> DiscriminatorOutput:
        pairs = zip(self.resolutions, self.spectra(waves), strict=True)
        return [convolutions(spectrum.log().transpose(1, 2)[:, None]) for convolutions, spectrum in pairs]

    def losses(self, made: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
        """(B,N) ``made`` and ``true`` audio -> (B,) losses of the vocoder, without a gradient for the discriminator's
        weights, and of the discriminator, without one for the vocoder's. Their sum trains both sides."""
        fixed = {name: parameter.detach() for name, parameter in self.named_parameters()}  # gradients flow through
        asked: DiscriminatorOutput = functional_call(self, fixed, (made,))
        with torch.no_grad():
            known: DiscriminatorOutput = functional_call(self, fixed, (true,))
        hinge = self.config.use == "hinge"
        adversarial = _mean([_rows(-one[-1] if hinge else (one[-1] - 1).square()) for one in asked])
        features = _mean(
            [
                _rows((one - other).abs()) / _rows(other.abs())
                for scores, truth in zip(asked, known, strict=True)
                for one, other in zip(scores[:-1], truth[:-1], strict=True)
            ]
        )
        told = []
        for one, other in zip(self(made.detach()), self(true), strict=True):
            fake, real = one[-1], other[-1]
            wrong = (F.relu(1 + fake), F.relu(1 - real)) if hinge else (fake.square(), (real - 1).square())
            told.append(_rows(wrong[0]) + _rows(wrong[1]))
        return self.config.weight * adversarial + self.config.features * features, _mean(told)


def _rows(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _mean(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean(0)


class GanTraining(nn.Module):
    """The vocoder, its losses, and the discriminator if there is one."""

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder = vocoder
        gan = vocoder.config.gan
        self.discriminator = None if gan.use == "none" else Discriminator(gan, vocoder.mel)
        self.distance = SpectralLoss(vocoder.mel, vocoder.config.mel_weight)
        self.mel = LogMel(vocoder.mel)


class VocoderObjective:
    """An :class:`muomni_cli.api.Objective`: waveforms from their own mel, or from the codec's reconstruction of it."""

    unit = "seconds"
    adamw_params = frozenset({"vocoder.head.weight"})

    def __init__(self, vocoder: Vocos, context: StageContext) -> None:
        self.module = GanTraining(vocoder)
        self.blocks: Sequence[nn.Module] = ()
        self._settings, self._seed = context.settings, context.seed
        self._codec: Codec | None = context.codec() if vocoder.config.codec else None
        data = context.examples()
        self._train, self._val = data.train, data.val
        self._step = vocoder.mel.hop * (self._codec.frame if self._codec else 1)  # samples of the smallest crop

    def batch(self, step: int, micro: int) -> Batch:
        """Part ``micro`` of the step's ``batch_size`` crops, each seeded by step and row: ``waves`` (B,N)."""
        chosen = self._train.batch(step, self._settings.batch_size)
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
        """The spectral loss, summed over rows, and the adversarial losses if there is a discriminator."""
        true = batch.tensors["waves"]
        made = self.module.vocoder(self._heard(true))
        loss, mel_distance = self.module.distance(made, true)
        logs = {"mel_distance": mel_distance.sum().detach()}
        if self.module.discriminator is not None:
            asked, told = self.module.discriminator.losses(made, true)
            logs |= {"distance": loss.sum().detach(), "discriminator": told.sum().detach()}
            loss = loss + asked + told
        return Loss(loss.sum(), logs)

    def validate(self) -> dict[str, float]:
        """``loss`` without adversarial terms, and ``mel_distance`` in nats, over whole held-out files."""
        sums, count = torch.zeros(2, dtype=torch.float64), 0
        batches = self._val.batches(self._settings.batch_size)
        for rows in share(itertools.islice(batches, self._settings.val_batches or None)):
            for row in rows:  # one by one: the silence of padding would count as correct
                true, made = self._resounded(row)
                sums += torch.stack(self.module.distance(made, true)).sum(1).double().cpu()
                count += 1
        loss, distance, counted = totals([*sums.tolist(), count])
        loss, distance = loss / max(counted, 1), distance / max(counted, 1)
        return {"loss": loss, "mel_distance": distance}

    def samples(self, step: int) -> Iterable[Sample]:  # noqa: ARG002
        """A few held-out files as the vocoder renders them."""
        rows = np.linspace(0, len(self._val) - 1, min(SHOWN, len(self._val))).astype(int).tolist()
        for place, row in enumerate(rows):
            _, made = self._resounded(row)
            samples, rate = made[0].cpu().numpy().clip(-1, 1), self.module.vocoder.mel.sample_rate
            file = io.BytesIO()
            soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
            yield Sample(f"{place}.wav", file.getvalue())

    @torch.no_grad()
    def _resounded(self, row: int) -> tuple[Tensor, Tensor]:
        """(1,N) and (1,N): held-out audio, and what the vocoder makes of its mel."""
        wave = self._val.inputs[row]
        padded = np.pad(wave, (0, self._filled(wave.size) - wave.size))
        true = torch.from_numpy(np.array(padded, np.float32))[None].to(self.module.vocoder.window.device)
        return true, self.module.vocoder(self._heard(true))

    @torch.no_grad()
    def _heard(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,M,F), the vocoder's input."""
        mel: Tensor = self.module.mel(waves)
        if self._codec is None:
            return mel
        return self._codec.expand(self._codec.decode(self._codec.encode(self._codec.windows(mel))))

    def _filled(self, samples: int) -> int:
        """``samples`` rounded up to whole mel frames, or the codec's frames if it takes part."""
        return max(1, -(-samples // self._step)) * self._step


def crop(wave: NDArray[np.float32], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(N,) -> (samples,) from a random place, padded with silence."""
    begin = int(rng.integers(max(0, wave.size - samples) + 1))
    piece = wave[begin : begin + samples]
    return np.pad(piece, (0, samples - piece.size))
