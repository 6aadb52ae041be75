"""The neural vocoder, trained or not, keeps time: exact lengths, a look-ahead and no more, pieces as the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from muomni_cli.api import MelConfig
from muomni_vocoders.dispersion import FRAMES, LOWEST, sweeps
from muomni_vocoders.plugin import VocosConfig
from muomni_vocoders.vocos import Vocos, build

TINY = VocosConfig(channels=16, layers=2, hidden=32)


def lively(config: VocosConfig = TINY, mel: MelConfig | None = None) -> Vocos:
    torch.manual_seed(0)
    return build(config, mel or MelConfig()).eval()


def speech(frames: int, mel: MelConfig, rows: int = 1) -> Tensor:
    return torch.randn(rows, frames, mel.n_mels, generator=torch.Generator().manual_seed(1)) - 4


def test_301_code_frames_are_385280_samples() -> None:
    with torch.no_grad():
        assert lively()(speech(8 * 301, MelConfig())).shape == (1, 385_280)


@pytest.mark.parametrize("frames", [0, 1, 2, 7, 50])
@pytest.mark.parametrize("lookahead", [0, 3])
def test_every_mel_frame_is_a_hop_of_samples(mel: MelConfig, frames: int, lookahead: int) -> None:
    vocoder = lively(TINY.model_copy(update={"lookahead": lookahead}), mel)
    assert vocoder(speech(frames, mel, rows=2)).shape == (2, frames * mel.hop)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 50), max_size=6).map(sorted), st.integers(0, 5))
def test_pieces_are_the_whole(cuts: list[int], lookahead: int) -> None:
    vocoder = lively(TINY.model_copy(update={"lookahead": lookahead}))
    mel = speech(50, MelConfig(), rows=2)
    stream, begin, made = vocoder.stream(2), 0, []
    for cut in [*cuts, 50]:
        made.append(stream.push(mel[:, begin:cut]))
        begin = cut
    torch.testing.assert_close(torch.cat([*made, stream.finish()], 1), vocoder(mel), atol=1e-4, rtol=0)


def test_pieces_are_the_whole_with_any_settings(mel: MelConfig) -> None:
    vocoder, told = lively(mel=mel), speech(40, mel)
    stream = vocoder.stream()
    for _ in range(2):  # after its end a stream begins another sound
        made = [stream.push(told[:, frame : frame + 1]) for frame in range(40)]
        torch.testing.assert_close(torch.cat([*made, stream.finish()], 1), vocoder(told), atol=1e-4, rtol=0)


def test_nothing_is_heard_beyond_the_lookahead() -> None:
    vocoder, mel = lively(), speech(40, MelConfig())
    changed = mel.clone()
    changed[:, 20:] += 1
    one, other = vocoder(mel), vocoder(changed)
    sure = (20 - TINY.lookahead) * 160 - 320  # the first frame that may hear it begins half a window before its centre
    assert torch.equal(one[:, :sure], other[:, :sure])
    assert not torch.allclose(one[:, sure : sure + 640], other[:, sure : sure + 640], atol=1e-4)
    stream = vocoder.stream()
    assert stream.push(mel[:, :20]).shape[1] == sure


def test_rows_do_not_hear_each_other() -> None:
    vocoder, mel = lively(), speech(40, MelConfig(), rows=3)
    alone = torch.cat([vocoder(row[None]) for row in mel])
    torch.testing.assert_close(vocoder(mel), alone, atol=1e-4, rtol=0)


def test_no_mel_is_too_loud() -> None:
    made = lively()(torch.full((1, 20, 128), 80.0))
    assert made.abs().max() < 1024  # every frequency at full scale at once, and no more


def test_what_a_checkpoint_keeps_is_what_was_learned() -> None:
    vocoder = lively()
    assert vocoder.state_dict().keys() == dict(vocoder.named_parameters()).keys()


def test_pulses_at_the_centers_of_frames_are_spread() -> None:
    """Phases of zero are a pulse per frame; dispersed ones are not, in any band."""
    mel = MelConfig()
    bins = np.arange(mel.n_fft // 2 + 1) * mel.sample_rate / mel.n_fft
    added = sweeps(mel.sample_rate, mel.hop, mel.n_fft)
    assert added.shape == (FRAMES, bins.size)
    for low in range(2500, 7500, 500):
        inside = (bins >= low) & (bins < low + 500)
        peaks = []
        for phases in (np.zeros_like(added), added):
            frames = np.fft.fftshift(np.fft.irfft(inside * np.exp(1j * phases), axis=1), axes=1)
            around = slice(mel.n_fft // 2 - 3 * mel.hop, mel.n_fft // 2 + 3 * mel.hop)
            power = (frames[:, around] ** 2).sum(0).reshape(-1, mel.hop).sum(0)  # by the place between two centers
            peaks.append(power.max() / power.mean())
        assert peaks[1] < peaks[0] / 3


def test_the_dispersion_leaves_low_frequencies_alone() -> None:
    mel = MelConfig()
    bins = np.arange(mel.n_fft // 2 + 1) * mel.sample_rate / mel.n_fft
    assert not sweeps(mel.sample_rate, mel.hop, mel.n_fft)[:, bins < LOWEST].any()


def test_training_sees_no_dispersion() -> None:
    vocoder, told = lively(), speech(20, MelConfig())
    assert not torch.allclose(vocoder(told), vocoder.train()(told), atol=1e-4)
