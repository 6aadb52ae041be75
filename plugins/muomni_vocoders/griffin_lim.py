"""Log-mel to samples without training: magnitudes by the pseudo-inverse of the filters, phases by fast Griffin-Lim.

The momentum is that of Perraudin, Balazs and Sondergaard 2013. Initial phases are those of single pass spectrogram
inversion (Beauregard, Harish and Wyse 2015), where every peak is a sine that continues: 16 iterations from there beat
32 from zeros. Phases are found block by block, each with a few frames of lookahead and on top of the samples of the
blocks before, as in RTISI-LA (Zhu, Beauregard and Wyse 2007). Blocks lie on a fixed grid of mel frames, so streamed
audio equals that of one call, sample by sample. Nothing is random.

Shapes: B batch, M mel frames, F mel bins, T frames, K frequencies, W samples of a window, N samples.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_vocoders.config import GriffinLimConfig
from muomni_vocoders.stft import Magnitudes, OverlapAddStream

TINY = 1e-20
"""Added to squared magnitudes before division: silence has no phase."""


def peak_frequencies(magnitudes: Tensor) -> Tensor:
    """(B,T,K) -> (B,T,K): for each bin, the frequency in bins of the nearest peak, from a parabola through its top; the
    bin's own where there is no peak."""
    below, here, above = magnitudes[..., :-2], magnitudes[..., 1:-1], magnitudes[..., 2:]
    count = magnitudes.shape[-1]
    bins = torch.arange(count, dtype=magnitudes.dtype, device=magnitudes.device)
    inner = bins[1:-1]
    peak = (here > below) & (here >= above)
    bend = (below - 2 * here + above).clamp_max(-torch.finfo(magnitudes.dtype).tiny)
    tops = inner + ((below - above) / (2 * bend)).clamp(-0.5, 0.5)
    left = running_max(torch.where(peak, inner, -count))
    right = -running_max(torch.where(peak, -inner, -2 * count).flip(-1)).flip(-1)
    nearest = torch.where(inner - left <= right - inner, left, right)
    found = (nearest > 0) & (nearest < count)
    chosen = tops.gather(-1, torch.where(found, nearest, inner).long() - 1)
    return torch.cat(
        (bins[:1].expand_as(here[..., :1]), torch.where(found, chosen, inner), bins[-1:].expand_as(here[..., :1])),
        dim=-1,
    )


def predicted(magnitudes: Tensor, before: Tensor | None, hop: int, n_fft: int) -> Tensor:
    """(B,T,K) complex spectrum of frames whose phases refer to their first sample.

    Args:
        magnitudes: (B,T,K), T at least 1.
        before: (B,K) complex spectrum of the frame before the first, if there is one. Silence has phase zero.
        hop: samples from one frame to the next.
        n_fft: length of the transform.
    """
    phases = 2 * math.pi * turns(magnitudes, hop, n_fft).cumsum(1)
    if before is not None:
        phases = phases + torch.where(before == 0, 0, before.angle())[:, None]
    return torch.polar(magnitudes, phases)


def turns(magnitudes: Tensor, hop: int, n_fft: int) -> Tensor:
    """(B,T,K) -> (B,T,K): the phase advance from the frame before, in turns, without whole ones."""
    moved = (hop / n_fft) * peak_frequencies(magnitudes)
    return moved - moved.floor()  # sums of whole turns would cost precision


def running_max(x: Tensor) -> Tensor:
    """(...,K) -> (...,K): the cumulative maximum."""
    if not torch.compiler.is_exporting():
        return x.cummax(-1).values
    reach = 1
    while reach < x.shape[-1]:  # exported graphs have no such operator: over 2, 4, 8 ... places
        before = F.pad(x[..., :-reach], (reach, 0), value=-math.inf)
        x, reach = torch.maximum(x, before), 2 * reach
    return x


class GriffinLim(nn.Module):
    """A :class:`muomni_cli.api.Vocoder` without weights; checkpoints hold nothing of it."""

    window: Tensor

    def __init__(self, config: GriffinLimConfig, mel: MelConfig) -> None:
        super().__init__()
        self.config, self.mel = config, mel
        self.magnitudes = Magnitudes(mel)
        self.register_buffer("window", torch.hann_window(mel.window), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples."""
        stream = self.stream(mel.shape[0])
        return torch.cat((stream.push(mel), stream.finish()), dim=1)

    def stream(self, batch: int = 1) -> GriffinLimStream:
        return GriffinLimStream(self, batch)

    def settled(self, spectrum: Tensor, magnitudes: Tensor, before: OverlapAddStream) -> Tensor:
        """(B,M,K) complex ``spectrum`` -> the same with phases more consistent with each other and with the samples
        ``before``; ``magnitudes`` are kept."""
        scale = 1 / before.weights(magnitudes.shape[1])
        push = self.config.momentum / (1 + self.config.momentum)
        last: Tensor | None = None
        for _ in range(self.config.iterations):
            heard = self.analysed(before.laid(self.synthesized(spectrum)).mul_(scale))
            moved = heard if last is None else torch.sub(heard, last, alpha=push)
            last = heard
            real, imag = moved.real, moved.imag
            spectrum = moved * torch.addcmul(real * real, imag, imag).add_(TINY).rsqrt_().mul_(magnitudes)
        return spectrum

    def synthesized(self, spectrum: Tensor) -> Tensor:
        """(B,M,K) -> (B,M,W) windowed frames."""
        return torch.fft.irfft(spectrum, n=self.mel.n_fft)[..., : self.mel.window] * self.window  # type: ignore[no-any-return]

    def analysed(self, samples: Tensor) -> Tensor:
        """(B,N) -> (B,M,K) spectrum of every frame that fits."""
        frames = samples.unfold(1, self.mel.window, self.mel.hop)
        return torch.fft.rfft(frames * self.window, n=self.mel.n_fft)  # type: ignore[no-any-return]


class GriffinLimStream:
    """Streaming :class:`GriffinLim`; a :class:`muomni_cli.contract.speech.TensorStream`, reusable after :meth:`finish`.

    A block runs as soon as its lookahead is there. The phases of the lookahead are the initial ones of the next block.
    """

    def __init__(self, vocoder: GriffinLim, batch: int) -> None:
        self._vocoder, self._batch = vocoder, batch
        self._begin()

    def _begin(self) -> None:
        vocoder = self._vocoder
        self._size = min(vocoder.config.first, vocoder.config.block)
        self._mel = vocoder.window.new_zeros(self._batch, 0, vocoder.mel.n_mels)  # not yet done
        self._ahead: Tensor | None = None  # (B,M,K) spectrum of the last frame done, and of the look-ahead
        self._overlap = OverlapAddStream(vocoder.window, vocoder.mel.hop, self._batch)

    @torch.no_grad()
    def push(self, piece: Tensor) -> Tensor:
        """(B,M,F) -> the samples of the blocks that are complete with it."""
        self._mel = torch.cat((self._mel, piece), dim=1)
        config, made = self._vocoder.config, [self._mel.new_zeros(self._batch, 0)]
        while self._mel.shape[1] >= self._size + config.lookahead:
            made.append(self._run(self._size, self._size + config.lookahead))
            self._size = min(2 * self._size, config.block)
        return torch.cat(made, dim=1)

    @torch.no_grad()
    def finish(self) -> Tensor:
        """The samples of the last block, which has no lookahead."""
        left = self._mel.shape[1]
        made = [self._run(left, left)] if left else []
        made.append(self._overlap.finish())
        self._begin()
        return torch.cat(made, dim=1)

    def _run(self, done: int, frames: int) -> Tensor:
        """Settle the next ``frames``, and return the samples of the first ``done`` of them."""
        vocoder = self._vocoder
        magnitudes = vocoder.magnitudes(self._mel[:, :frames])
        spectrum = vocoder.settled(self._guess(magnitudes), magnitudes, self._overlap)
        self._mel, self._ahead = self._mel[:, done:], spectrum[:, done - 1 :]
        return self._overlap.push(vocoder.synthesized(spectrum[:, :done]))

    def _guess(self, magnitudes: Tensor) -> Tensor:
        """The spectrum found by the block before, and its continuation."""
        mel = self._vocoder.mel
        if self._ahead is None:
            return predicted(magnitudes, None, mel.hop, mel.n_fft)
        known = self._ahead[:, 1 : magnitudes.shape[1] + 1]
        new = magnitudes[:, known.shape[1] :]
        if not new.shape[1]:
            return known
        return torch.cat((known, predicted(new, self._ahead[:, known.shape[1]], mel.hop, mel.n_fft)), dim=1)


def build(config: GriffinLimConfig, mel: MelConfig) -> GriffinLim:
    """Griffin-Lim for a codec's mel. RequestError if a mel filter is empty, so that the mel cannot be inverted."""
    return GriffinLim(config, mel)
