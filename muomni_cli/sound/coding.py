"""Samples to codes with any codec, back to log-mel, and to samples with any vocoder. Knows their protocols.

Shapes: N samples, T code frames, Q codebooks, M mel frames, F mel bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from muomni_cli.contract.speech import Codec, Vocoder
from muomni_cli.sound.mel import LogMel


@torch.inference_mode()
def encode_waves(codec: Codec, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.uint16]]:
    """(N,) samples each -> (T,Q) codes each, T whole code frames, the last one filled up with silence."""
    if not waves:
        return []
    mel = codec.mel
    step = codec.frame * mel.hop
    frames = [-(-wave.size // step) for wave in waves]
    padded = torch.zeros(len(waves), max(frames) * step)
    for row, wave in zip(padded, waves, strict=True):
        row[: wave.size] = torch.from_numpy(np.array(wave, np.float32))
    device = next(codec.parameters()).device  # type: ignore[attr-defined]
    codes = codec.encode(codec.windows(LogMel(mel).to(device)(padded.to(device)))).cpu().numpy()
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
