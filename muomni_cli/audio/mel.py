"""Waveform to log-mel in PyTorch, and to and from codes through any codec and vocoder.

The mel of frame t is ``log(power + mel_floor)`` in nats, where ``power`` is the triangular filter's (HTK mel scale) sum
of squared magnitudes of a Hann window around sample ``t * hop``; other conventions, which vocoders of others were
trained with, are settings. A full-scale sine reaches about 10 in its bin; digital
silence is ``log(mel_floor)``, -11.5 by default: the floor is above the rounding noise of 16-bit files, so that a sound
has one spectrogram in every file format.

The DFT matrices are computed from a table of one period (:class:`Waves`): an exported graph stores some hundred bytes
instead of megabytes, and computes the matrix once, when it is loaded.

Shapes: B batch, N samples, T frames, F mel bins, K = n_fft / 2 + 1 frequencies, Q codebooks, M mel frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.audio.context_stream import ContextStream
from muomni_cli.audio.dsp import mel_filters, reflected
from muomni_cli.contract.codecs import WaveCodec, is_waveform, samples_per_frame
from muomni_cli.contract.speech import Codec, MelSettings, Vocoder


class Waves(nn.Module):
    """() -> (2K,W): cosines, then sines, of K = n_fft / 2 + 1 frequencies at ``count`` = W samples; time zero is sample
    ``center``."""

    turn: Tensor
    times: Tensor
    frequencies: Tensor
    offsets: Tensor

    def __init__(self, n_fft: int, count: int, center: int = 0) -> None:
        super().__init__()
        self.n_fft = n_fft
        angles = 2 * math.pi / n_fft * torch.arange(n_fft, dtype=torch.float64)
        frequencies = torch.arange(n_fft // 2 + 1)
        tables = {
            "turn": torch.cat((angles.cos(), angles.sin())).float(),
            "times": (torch.arange(count) - center) % n_fft,
            "frequencies": torch.cat((frequencies, frequencies))[:, None],
            "offsets": torch.arange(2).repeat_interleave(len(frequencies))[:, None] * n_fft,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    def forward(self) -> Tensor:
        return self.turn[self.frequencies * self.times % self.n_fft + self.offsets]


class LogMel(nn.Module):
    """(B,N) waveforms -> (B,T,F) log-mel with T = N // hop: exactly 100 frames a second at 16 kHz and hop 160.

    As torch's centered STFT with zero padding, without its last frame. It has no parameters and nothing in a
    checkpoint.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelSettings) -> None:
        super().__init__()
        self.hop, self.split, self.n_fft, self.floor = config.hop, config.window // 2, config.n_fft, config.mel_floor
        self.clips, self.magnitude = config.mel_clip, config.spectrum == "magnitude"
        self.decimal, self.reflects = config.log == "log10", config.padding == "reflect"
        window = torch.hann_window(config.window, dtype=torch.float64)
        self.waves = Waves(self.n_fft, self.split)  # at the samples after the center
        for name, value in {"window": window, "filters": torch.from_numpy(mel_filters(config))}.items():
            self.register_buffer(name, value.float(), persistent=False)

    def forward(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,T,F), in float32 even under autocast: a bf16 power spectrum loses quiet sounds."""
        if torch.is_autocast_enabled(waves.device.type):
            with torch.autocast(waves.device.type, enabled=False):
                return self.forward(waves)
        frames = self.frames(waves.float())
        power = self.power_of_products(frames) if torch.compiler.is_exporting() else self.power(frames)
        sums = (power.sqrt() if self.magnitude else power) @ self.filters
        floored = sums.clamp(min=self.floor) if self.clips else sums + self.floor
        return torch.log10(floored) if self.decimal else torch.log(floored)

    def frames(self, waves: Tensor) -> Tensor:
        """(B,N) -> (B,T,window): the padded windows around every hop-th sample."""
        count = waves.shape[1]
        if self.reflects and count:
            padded = waves[:, reflected(torch.arange(-self.split, count + self.split, device=waves.device), count)]
        else:
            padded = F.pad(waves, (self.split, self.split))
        return padded.unfold(1, 2 * self.split, self.hop)[:, : waves.shape[1] // self.hop]

    def power(self, frames: Tensor) -> Tensor:
        """(B,T,window) -> (B,T,K) squared magnitudes."""
        if not frames.numel():  # shorter than a hop; some FFT builds refuse empty input
            return frames.new_zeros(*frames.shape[:-1], self.n_fft // 2 + 1)
        spectrum = torch.fft.rfft(frames * self.window, n=self.n_fft)
        return spectrum.real.square() + spectrum.imag.square()  # type: ignore[no-any-return]

    def power_of_products(self, frames: Tensor) -> Tensor:
        """:meth:`power` as matrix products, for exported graphs. A frame is the sum of an even part, which only cosines
        see, and an odd part, which only sines see: half the work of one matrix for the whole window."""
        cosines, sines = (self.waves() * self.window[self.split :]).t().chunk(2, dim=1)  # (window/2,K) each
        left, right = frames[..., 1 : self.split].flip(-1), frames[..., self.split :]
        center, right = right[..., :1], right[..., 1:]
        even = torch.cat((center, right + left), dim=-1)
        power: Tensor = (even @ cosines).square() + ((right - left) @ sines[1:]).square()
        return power


@torch.inference_mode()
def encode_waves(codec: Codec | WaveCodec, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.uint16]]:
    """(N,) samples each -> (T,Q) codes each, T whole code frames, the last one padded with silence."""
    if not waves:
        return []
    module: Any = codec
    step = samples_per_frame(codec)
    frames = [-(-wave.size // step) for wave in waves]
    padded = torch.zeros(len(waves), max(frames) * step)
    for row, wave in zip(padded, waves, strict=True):
        row[: wave.size] = torch.from_numpy(np.array(wave, np.float32))
    device = next(module.parameters()).device
    padded = padded.to(device)
    given = padded if is_waveform(codec) else module.windows(LogMel(module.mel).to(device)(padded))
    codes = codec.encode(given).cpu().numpy()
    return [row[:count].astype(np.uint16) for row, count in zip(codes, frames, strict=True)]


@torch.inference_mode()
def decode_codes(codec: Codec, codes: NDArray[np.integer]) -> NDArray[np.float32]:
    """(T,Q) codes -> (M,F) log-mel."""
    device = next(codec.parameters()).device  # type: ignore[attr-defined]
    rows = torch.from_numpy(codes.astype(np.int64))[None].to(device)
    mel: NDArray[np.float32] = codec.expand(codec.decode(rows))[0].cpu().numpy()
    return mel


@torch.inference_mode()
def to_samples(vocoder: Vocoder, mel: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """(M,F) log-mel -> (N,) samples."""
    wave: NDArray[np.float32] = vocoder(torch.from_numpy(mel)[None].to(device))[0].float().cpu().numpy()
    return wave


def codes_to_samples(
    codec: Codec | WaveCodec, vocoder: Vocoder | None, codes: NDArray[np.integer], device: torch.device
) -> NDArray[np.float32]:
    """(T,Q) codes -> (N,) samples, by a codec of waveforms alone, or else by the vocoder too."""
    if not is_waveform(codec):
        assert vocoder is not None, "a log-mel needs one"
        return to_samples(vocoder, decode_codes(cast("Codec", codec), codes), device)
    rows = torch.from_numpy(codes.astype(np.int64))[None].to(device)
    with torch.inference_mode():
        wave: NDArray[np.float32] = codec.decode(rows)[0].float().cpu().numpy()
    return wave


def wave_stream(codec: WaveCodec, batch: int = 1) -> ContextStream:
    """A codec of waveforms for chunks of (B,T,Q) codes -> samples. It keeps no state: each block is decoded with all
    codes before it, and blocks double in size, so that each code is decoded three times at most."""
    nothing = next(codec.parameters()).new_zeros(batch, 0)  # type: ignore[attr-defined]
    join = partial(torch.cat, dim=1)
    return ContextStream(codec.decode, codec.frame, before=None, after=0, most=None, nothing=nothing, join=join)
