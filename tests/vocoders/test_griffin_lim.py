"""Griffin-Lim gives sounds whose mel is the one asked for: of the exact length, the same in pieces, every time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from muomni_cli.api import MelConfig, RequestError
from muomni_cli.audio.mel import LogMel
from muomni_vocoders.griffin_lim import GriffinLim, build, peak_frequencies
from muomni_vocoders.plugin import GriffinLimConfig

Voice = Callable[..., Tensor]
QUICK = GriffinLimConfig(iterations=4)


def error(vocoder: GriffinLim, mel: Tensor) -> float:
    """How far the mel amplitudes of what it makes lie from those asked for, relative to them."""
    asked, made = (values.div(2).exp() for values in (mel, LogMel(vocoder.mel)(vocoder(mel))))
    return float((made - asked).norm() / asked.norm())


def streamed(vocoder: GriffinLim, mel: Tensor, cuts: list[int]) -> Tensor:
    stream, begin, made = vocoder.stream(mel.shape[0]), 0, []
    for cut in [*cuts, mel.shape[1]]:
        made.append(stream.push(mel[:, begin:cut]))
        begin = max(begin, cut)
    return torch.cat([*made, stream.finish()], dim=1)


def test_301_code_frames_are_385280_samples() -> None:
    mel = torch.full((1, 8 * 301, 128), -6.0)
    assert build(GriffinLimConfig(iterations=1), MelConfig())(mel).shape == (1, 385_280)


@pytest.mark.parametrize("frames", [0, 1, 2, 3, 7, 20, 21, 50])
def test_every_mel_frame_is_a_hop_of_samples(mel: MelConfig, frames: int) -> None:
    vocoder = build(QUICK, mel)
    made = vocoder(torch.zeros(2, frames, mel.n_mels))
    assert made.shape == (2, frames * mel.hop)
    assert torch.isfinite(made).all()


def test_its_sound_has_the_mel_that_was_asked_for(
    mel: MelConfig, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = LogMel(mel)(voice(mel.sample_rate))
    settled, single = (error(build(GriffinLimConfig(iterations=count), mel), asked) for count in (32, 1))
    assert settled < 0.12
    assert settled < 0.7 * single
    monkeypatch.setattr(
        GriffinLim, "settled", lambda _self, _spectrum, magnitudes, _before: magnitudes.to(torch.cfloat)
    )
    assert error(build(GriffinLimConfig(), mel), asked) > 0.25  # every phase zero


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 70), max_size=6).map(sorted))
def test_pieces_are_the_whole(cuts: list[int]) -> None:
    torch.manual_seed(0)
    vocoder, mel = build(QUICK, MelConfig()), torch.randn(2, 70, 128) - 5
    torch.testing.assert_close(streamed(vocoder, mel, cuts), vocoder(mel), atol=1e-4, rtol=0)


def test_pieces_are_the_whole_with_any_settings(mel: MelConfig, voice: Voice) -> None:
    config = GriffinLimConfig(first=3, block=5, lookahead=0)
    vocoder, asked = build(config, mel), LogMel(mel)(voice(mel.sample_rate))
    every = list(range(1, asked.shape[1]))
    torch.testing.assert_close(streamed(vocoder, asked, every), vocoder(asked), atol=1e-4, rtol=0)


def test_the_first_samples_come_with_the_first_block() -> None:
    config = GriffinLimConfig(first=4, lookahead=4)
    stream = build(config, MelConfig()).stream()
    assert stream.push(torch.zeros(1, 7, 128)).shape == (1, 0)
    assert stream.push(torch.zeros(1, 1, 128)).shape == (1, 4 * 160 - 320)


def test_after_its_end_a_stream_begins_another_sound(voice: Voice) -> None:
    vocoder, mel = build(QUICK, MelConfig()), LogMel(MelConfig())(voice())
    stream = vocoder.stream()
    one, other = (torch.cat([stream.push(mel), stream.finish()], dim=1) for _ in range(2))
    assert torch.equal(one, other)


def test_rows_do_not_hear_each_other(voice: Voice) -> None:
    vocoder = build(GriffinLimConfig(), MelConfig())
    mel = LogMel(MelConfig())(torch.cat([voice(pitch=pitch) for pitch in (90.0, 140.0, 220.0)]))
    alone = torch.cat([vocoder(row[None]) for row in mel])
    torch.testing.assert_close(vocoder(mel), alone, atol=1e-4, rtol=0)


def test_nothing_is_random(voice: Voice) -> None:
    mel, made = LogMel(MelConfig())(voice()), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        made.append(build(QUICK, MelConfig())(mel))
    assert torch.equal(*made)


def test_silence_stays_silent() -> None:
    silence = LogMel(MelConfig())(torch.zeros(1, 16000))
    assert build(GriffinLimConfig(), MelConfig())(silence).abs().max() < 1e-4


def test_a_tone_keeps_its_frequency_between_the_bins() -> None:
    time = torch.arange(16000) / 16000
    for hertz in (443.0, 1111.0):
        made = build(GriffinLimConfig(iterations=32), MelConfig())(
            LogMel(MelConfig())(0.3 * torch.sin(2 * torch.pi * hertz * time)[None])
        )
        heard = int(torch.fft.rfft(made[0] * torch.hann_window(16000)).abs().argmax())
        assert abs(heard - hertz) < 8  # half a bin of the transform


def test_peaks_lie_between_bins_and_lead_their_neighbors() -> None:
    magnitudes = torch.zeros(1, 1, 12)
    magnitudes[..., 3:6] = torch.tensor([1.0, 2.0, 1.5])
    found = peak_frequencies(magnitudes)[0, 0]
    assert found[0] == 0
    assert found[-1] == 11
    torch.testing.assert_close(found[1:-1], torch.full((10,), 4 + 0.5 * 0.5 / 1.5))
    assert peak_frequencies(torch.zeros(1, 1, 5)).flatten().tolist() == [0, 1, 2, 3, 4]


def test_it_learns_nothing_and_keeps_nothing() -> None:
    assert not build(GriffinLimConfig(), MelConfig()).state_dict()


def test_filters_that_hear_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="of 128 mel filters are narrower"):
        build(GriffinLimConfig(), MelConfig(n_fft=400, window=400))
