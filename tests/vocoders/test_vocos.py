"""The neural vocoder, trained or not, keeps time: exact lengths, a look-ahead and no more, pieces as the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from muomni_cli.api import MelConfig
from muomni_vocoders.dispersion import DispersionStream, reach
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
    heard = (20 - TINY.lookahead) * 160 - 320  # the first frame that may hear it begins half a window before its centre
    sure = (heard - reach(160)) // 160 * 160  # whole blocks whose dispersion reaches no further
    assert torch.equal(one[:, :sure], other[:, :sure])
    assert not torch.allclose(one[:, heard : heard + 640], other[:, heard : heard + 640], atol=1e-4)
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


def pulses(mel: MelConfig, hops: int = 200) -> np.ndarray:
    """A pulse at the center of every frame, as of phases that are all alike."""
    wave = np.zeros(hops * mel.hop, np.float32)
    wave[:: mel.hop] = 1
    return wave


def dispersed(wave: np.ndarray, mel: MelConfig, size: int) -> np.ndarray:
    stream = DispersionStream(mel.sample_rate, mel.hop)
    made = [stream.push(wave[begin : begin + size]) for begin in range(0, len(wave), size)]
    return np.concatenate([*made, stream.finish()])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 700), st.integers(0, 3000), st.sampled_from([(16000, 160), (8000, 80), (22050, 256)]))
def test_the_dispersion_keeps_lengths_and_does_not_depend_on_pieces(
    size: int, count: int, form: tuple[int, int]
) -> None:
    mel = MelConfig(sample_rate=form[0], hop=form[1])
    wave = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    made = dispersed(wave, mel, size)
    assert made.shape == wave.shape
    assert np.array_equal(made, dispersed(wave, mel, max(1, count)))


def test_pulses_of_frames_are_spread() -> None:
    mel = MelConfig()
    bends = []
    for wave in (pulses(mel), dispersed(pulses(mel), mel, 1000)):
        bend = np.abs(np.diff(wave[20 * mel.hop : -20 * mel.hop], 2))
        profile = bend[: len(bend) // mel.hop * mel.hop].reshape(-1, mel.hop).mean(0)
        bends.append(profile.max() / profile.mean())
    assert bends[1] < bends[0] / 10


def test_the_dispersion_keeps_levels_at_all_frequencies() -> None:
    mel = MelConfig()
    wave = np.random.default_rng(0).standard_normal(80_000).astype(np.float32)
    power = [np.abs(np.fft.rfft(one[4000:-4000])) ** 2 for one in (wave, dispersed(wave, mel, 999))]
    bands = [one[: len(one) // 20 * 20].reshape(20, -1).sum(1) for one in power]
    assert np.abs(10 * np.log10(bands[1] / bands[0])).max() < 1  # dB


def test_low_frequencies_pass_the_dispersion_unchanged() -> None:
    mel = MelConfig()
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / mel.sample_rate).astype(np.float32)
    made = dispersed(tone, mel, 777)
    assert np.abs(made - tone)[400:-400].max() < 0.01
