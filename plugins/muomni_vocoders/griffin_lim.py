"""The Griffin-Lim vocoder (Griffin and Lim 1984; fast: Perraudin et al. 2013), and the STFT that it inverts."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import MelConfig
from muomni_cli.audio.dsp import mel_filters
from muomni_cli.audio.mel import Waves
from muomni_vocoders.plugin import GriffinLimConfig

LEAST = 1e-3  # lower bound of a divisor, as a share of the window's largest square
TINY = 1e-20  # added to squared magnitudes before division: silence has no phase


class Magnitudes(nn.Module):
    """(B,M,F) log-mel -> (B,M,K) magnitudes by the pseudo-inverse of the filters: the least power with this mel, where
    there is one. RequestError if a filter is empty."""

    inverse: Tensor

    def __init__(self, mel: MelConfig) -> None:
        super().__init__()
        self.floor, self.magnitude, self.decimal = mel.mel_floor, mel.spectrum == "magnitude", mel.log == "log10"
        inverse = torch.linalg.pinv(torch.from_numpy(mel_filters(mel)))  # (F,K)
        self.register_buffer("inverse", inverse.float(), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        return self.power(mel).clamp_min(0).sqrt()

    def power(self, mel: Tensor) -> Tensor:
        """(B,M,F) -> (B,M,K); possibly negative where no power has this mel."""
        levels = mel.float() * math.log(10) if self.decimal else mel.float()
        found = (levels.exp() - self.floor) @ self.inverse
        return found * found.abs() if self.magnitude else found


def least_of(window: Tensor) -> float:
    """The minimum divisor in place of small sums of squares of this window."""
    return float(window.max().item() ** 2 * LEAST)


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B,T,W) -> (B, (T-1)*hop + W): the sum of frames that start ``hop`` samples apart."""
    count, window = frames.shape[1:]
    size = (1, (count - 1) * hop + window)
    return F.fold(frames.transpose(1, 2), size, (1, window), stride=(1, hop))[:, 0, 0]


class OverlapAddStream:
    """Streaming inverse short-time Fourier transform (Griffin and Lim 1984) of ``batch`` rows: each sample is the sum
    of its windowed frames over the sum of their squared windows. Frame t is centered on sample ``t * hop``, as in a
    log-mel. ``window``: (W,) of analysis and synthesis, W even and at least ``hop``."""

    def __init__(self, window: Tensor, hop: int, batch: int) -> None:
        self._squares, self._hop = window.square()[None, None], hop
        self._tail = window.new_zeros(batch, window.numel() - hop)  # sums beyond the final samples
        self._weight = window.new_zeros(1, window.numel() - hop)
        self._before = window.numel() // 2  # samples of the next frame before the start
        self._after = window.numel() // 2  # samples from the last frame's center to the end of its window
        self.least = least_of(window)

    def resume(self, tail: Tensor, weight: Tensor) -> None:
        """Continue after frames that left (B, W-hop) sums and (1, W-hop) sums of squares."""
        self._tail, self._weight, self._before = tail, weight, 0

    @property
    def left(self) -> tuple[Tensor, Tensor]:
        """The arguments of :meth:`resume` to continue from here."""
        return self._tail, self._weight

    def laid(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames that could come next -> (B, (T-1)*hop + W) sums of samples."""
        sums = overlap_add(frames, self._hop)
        sums[:, : self._tail.shape[1]] += self._tail
        return sums

    def weights(self, count: int) -> Tensor:
        """(1, (count-1)*hop + W) divisors of :meth:`laid` for ``count`` frames; bounded below, so that samples under
        the feet of windows are not amplified."""
        return self._counted(count).clamp_min(self.least)

    def push(self, frames: Tensor) -> Tensor:
        """(B,T,W) windowed frames -> the samples that no later frame changes."""
        count = frames.shape[1]
        if not count:
            return self._tail[:, :0]
        sums, weights = self.laid(frames), self._counted(count)
        done = count * self._hop
        samples = sums[:, :done] / weights[:, :done].clamp_min(self.least)
        self._tail, self._weight = sums[:, done:], weights[:, done:]
        outside = min(self._before, done)
        self._before -= outside
        return samples[:, outside:]

    def finish(self) -> Tensor:
        """The rest of the samples: in all ``hop`` per frame."""
        samples = self._tail / self._weight.clamp_min(self.least)
        wanted = self._after - self._before
        rest = samples[:, self._before : self._after]
        return F.pad(rest, (0, wanted - rest.shape[1]))

    def _counted(self, count: int) -> Tensor:
        counted = overlap_add(self._squares.expand(1, count, -1), self._hop)
        counted[:, : self._weight.shape[1]] += self._weight
        return counted


class _Dft(nn.Module):
    """A windowed transform as a convolution; ``factors`` (K,1) scale its real and imaginary parts."""

    window: Tensor
    factors: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, factors: Tensor, center: int = 0) -> None:
        super().__init__()
        self.hop, self.waves = mel.hop, Waves(mel.n_fft, mel.window, center)
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("factors", torch.cat((factors, -factors)), persistent=False)

    def kernel(self) -> Tensor:
        """(2K,1,W): compute it once per graph."""
        kernel: Tensor = self.waves() * self.factors * self.window
        return kernel[:, None]


class DftAnalysis(_Dft):
    """(B,N) samples -> (B,2K,T) spectrum of every whole frame, as ``torch.fft.rfft`` of windowed frames."""

    def __init__(self, mel: MelConfig, window: Tensor) -> None:
        super().__init__(mel, window, torch.ones(mel.n_fft // 2 + 1, 1))

    def forward(self, samples: Tensor, kernel: Tensor) -> Tensor:
        return F.conv1d(samples[:, None], kernel, stride=self.hop)


class OverlapAdd(_Dft):
    """(B,2K,T) spectrum onto the sums of the frames before, as ``torch.fft.irfft``, window and
    :class:`OverlapAddStream`."""

    squares: Tensor

    def __init__(self, mel: MelConfig, window: Tensor, center: int = 0) -> None:
        twice = torch.full((mel.n_fft // 2 + 1, 1), 2 / mel.n_fft)  # the other half of the spectrum
        twice[0] /= 2
        if mel.n_fft % 2 == 0:
            twice[-1] /= 2
        super().__init__(mel, window, twice, center)
        self.least = least_of(window)
        self.register_buffer("squares", window.square()[None, None], persistent=False)

    def sums(self, spectrum: Tensor, tail: Tensor, kernel: Tensor) -> Tensor:
        """(B,2K,T) and (B, W-hop) -> (B, (T-1)*hop + W) sums of all frames so far."""
        return self._on(F.conv_transpose1d(spectrum, kernel, stride=self.hop)[:, 0], tail)

    def weights(self, real: Tensor, weight: Tensor) -> Tensor:
        """(1,T) factors of frames and (1, W-hop) -> (1, (T-1)*hop + W) sums of squared windows."""
        return self._on(F.conv_transpose1d(real[:, None], self.squares, stride=self.hop)[:, 0], weight)

    def forward(
        self, spectrum: Tensor, real: Tensor, tail: Tensor, weight: Tensor, kernel: Tensor
    ) -> tuple[Tensor, ...]:
        """(B,2K,T), (1,T) factors, and the (B, W-hop) and (1, W-hop) sums of the frames before -> (B, T*hop) final
        samples, (B, W-hop) samples after them if no frame follows, and the sums for the next frames."""
        sums, weights = self.sums(spectrum * real[:, None], tail, kernel), self.weights(real, weight)
        done = real.shape[1] * self.hop
        samples = sums / weights.clamp_min(self.least)
        return samples[:, :done], samples[:, done:], sums[:, done:], weights[:, done:]

    def _on(self, added: Tensor, before: Tensor) -> Tensor:
        rest = added.shape[1] - before.shape[1]
        return added + torch.cat((before, before.new_zeros(before.shape[0], rest)), dim=1)


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
    first, last = bins[:1].expand_as(here[..., :1]), bins[-1:].expand_as(here[..., :1])
    return torch.cat((first, torch.where(found, chosen, inner), last), dim=-1)


def predicted(magnitudes: Tensor, before: Tensor | None, hop: int, n_fft: int) -> Tensor:
    """(B,T,K) magnitudes, T at least 1, and the (B,K) complex spectrum of the frame before, if there is one -> (B,T,K)
    complex spectrum, its phases relative to the first sample of each frame. Silence has phase zero."""
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
    """A :class:`muomni_cli.api.Vocoder` without weights; checkpoints hold nothing of it. RequestError if a mel filter
    is empty, so that the mel cannot be inverted."""

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
            samples = before.laid(self.synthesized(spectrum)).mul_(scale)
            frames = samples.unfold(1, self.mel.window, self.mel.hop)  # those that fit
            heard = torch.fft.rfft(frames * self.window, n=self.mel.n_fft)
            moved = heard if last is None else torch.sub(heard, last, alpha=push)
            last = heard
            real, imag = moved.real, moved.imag
            spectrum = moved * torch.addcmul(real * real, imag, imag).add_(TINY).rsqrt_().mul_(magnitudes)
        return spectrum

    def synthesized(self, spectrum: Tensor) -> Tensor:
        """(B,M,K) -> (B,M,W) windowed frames."""
        return torch.fft.irfft(spectrum, n=self.mel.n_fft)[..., : self.mel.window] * self.window  # type: ignore[no-any-return]


class GriffinLimStream:
    """Streaming :class:`GriffinLim`; a :class:`muomni_cli.contract.speech.TensorStream`, reusable after :meth:`finish`.
    A block runs as soon as its lookahead is there, whose phases are the initial ones of the next block."""

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
        """Settle the next ``frames``, starting from the spectrum that the block before found for its lookahead, and
        return the samples of the first ``done`` of them."""
        vocoder, mel = self._vocoder, self._vocoder.mel
        magnitudes = vocoder.magnitudes(self._mel[:, :frames])
        if self._ahead is None:
            guess = predicted(magnitudes, None, mel.hop, mel.n_fft)
        else:
            guess = self._ahead[:, 1 : frames + 1]
            known = guess.shape[1]
            if known < frames:
                new = predicted(magnitudes[:, known:], self._ahead[:, known], mel.hop, mel.n_fft)
                guess = torch.cat((guess, new), dim=1)
        spectrum = vocoder.settled(guess, magnitudes, self._overlap)
        self._mel, self._ahead = self._mel[:, done:], spectrum[:, done - 1 :]
        return self._overlap.push(vocoder.synthesized(spectrum[:, :done]))


build = GriffinLim
