"""The mel front end against torchaudio's, and the properties that files, training and export rely on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import RequestError
from muomni_cli.audio.dsp import log_mel, mel_filters, whole_frames
from muomni_cli.audio.mel import LogMel

VARIANTS = [
    AudioEncoderConfig(),
    AudioEncoderConfig(window=400, n_fft=512, n_mels=40, f_min=20, f_max=7600),
    AudioEncoderConfig(sample_rate=24000, hop=240, window=960, f_max=8000, n_mels=80, mel_floor=1e-3),
]


@pytest.fixture(scope="module")
def torchaudio():  # type: ignore[no-untyped-def]
    try:
        return __import__("torchaudio")
    except (ImportError, OSError) as error:  # it imports beside its own torch only
        pytest.skip(f"torchaudio does not import here: {error}")


@pytest.mark.parametrize("config", VARIANTS)
def test_the_filters_are_those_of_torchaudio(config: AudioEncoderConfig, torchaudio) -> None:  # type: ignore[no-untyped-def]
    theirs = torchaudio.functional.melscale_fbanks(
        config.n_fft // 2 + 1, config.f_min, config.top, config.n_mels, config.sample_rate
    )
    np.testing.assert_allclose(mel_filters(config), theirs, atol=2e-5)


@pytest.mark.parametrize("config", VARIANTS)
def test_the_spectrogram_is_that_of_torchaudio(config: AudioEncoderConfig, torchaudio) -> None:  # type: ignore[no-untyped-def]
    theirs = torchaudio.transforms.MelSpectrogram(
        sample_rate=config.sample_rate,
        n_fft=config.n_fft,
        win_length=config.window,
        hop_length=config.hop,
        f_min=config.f_min,
        f_max=config.top,
        n_mels=config.n_mels,
        pad_mode="constant",
    )
    waves = torch.randn(2, config.sample_rate, generator=torch.Generator().manual_seed(0)) * 0.1
    expected = torch.log(theirs(waves) + config.mel_floor).transpose(1, 2)
    ours = LogMel(config)(waves)
    assert expected.shape[1] == 101  # the centred transform's last frame is dropped
    assert ours.shape == (2, 100, config.n_mels)
    torch.testing.assert_close(ours, expected[:, :-1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", VARIANTS)
@pytest.mark.parametrize("size", [0, 1, 159, 160, 7777])
def test_without_pytorch_it_is_the_same(config: AudioEncoderConfig, size: int) -> None:
    wave = np.random.default_rng(0).standard_normal(size).astype(np.float32) * 0.1
    ours = log_mel(wave, config)
    np.testing.assert_allclose(ours, LogMel(config)(torch.from_numpy(wave)[None])[0], atol=1e-4)
    assert ours.shape == (size // config.hop, config.n_mels)


def test_silence_fills_whole_frames_up() -> None:
    assert [whole_frames(np.ones(size), 4).tolist() for size in (0, 3, 4)] == [[], [1, 1, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("config", VARIANTS)
def test_products_and_fast_transform_agree(config: AudioEncoderConfig) -> None:
    mel = LogMel(config)
    frames = mel.frames(torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) * 0.1)
    torch.testing.assert_close(mel.power_of_products(frames), mel.power(frames), atol=2e-4, rtol=1e-4)


def test_an_exported_graph_has_plain_operators_any_length_and_the_same_numbers() -> None:
    mel = LogMel(AudioEncoderConfig())
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples", min=640)}
    program = torch.export.export(mel, (torch.randn(2, 4000),), dynamic_shapes=(sizes,))
    assert not [node for node in program.graph.nodes if "fft" in str(node.target)]
    for shape in ((1, 16000), (3, 6543)):
        waves = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1
        torch.testing.assert_close(program.module()(waves), mel(waves), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(640, 4), (16000, 100), (16159, 100), (16160, 101), (57600, 360)])
def test_a_hundred_frames_a_second(samples: int, frames: int) -> None:
    assert LogMel(AudioEncoderConfig())(torch.zeros(1, samples)).shape == (1, frames, 128)


def test_silence_full_scale_and_the_bin_of_a_tone() -> None:
    config = AudioEncoderConfig()
    mel, time = LogMel(config), torch.arange(16000) / 16000
    torch.testing.assert_close(mel(torch.zeros(1, 1600)), torch.full((1, 10, 128), math.log(1e-5)))
    for hertz in (150, 440, 1000, 3000, 7000):
        tone = mel(torch.sin(2 * torch.pi * hertz * time)[None])[0, 50]
        assert 8 < tone.max() < 11
        assert int(tone.argmax()) == int(mel_filters(config)[round(hertz / 15.625)].argmax())


def test_twice_as_loud_is_a_constant_more() -> None:
    mel, wave = LogMel(AudioEncoderConfig()), torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mel(2 * wave) - mel(wave), torch.full((1, 100, 128), math.log(4)), atol=1e-3, rtol=0)


def test_autocast_does_not_reach_the_ears() -> None:
    mel, waves = LogMel(AudioEncoderConfig()), torch.randn(1, 1600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mel(waves)
    assert torch.equal(inside, mel(waves))


def test_filters_that_would_hear_nothing_are_refused() -> None:
    with pytest.raises(RequestError, match="of 128 mel filters are narrower") as caught:
        LogMel(AudioEncoderConfig(n_fft=400, window=400))
    assert "n_fft above 400" in caught.value.fix


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ({"window": 641}, "window 641 must be even"),
        ({"window": 2048}, "window 2048 and n_fft 1024"),
        ({"hop": 1000}, "hop 1000, window 640"),
        ({"f_max": 9000}, "half of sample_rate, 8000 Hz"),
        ({"f_min": 4000, "f_max": 3000}, "f_min 4000 and f_max 3000"),
        ({"sample_rate": 100}, "sample_rate"),
        ({"n_heads": 5}, "d_model 192 cannot be split into n_heads 5"),
        ({"n_heads": 64}, "192 / 64 = 3 wide"),
        ({"downsample": 5}, "downsample"),
        ({"mel_floor": 0}, "mel_floor"),
    ],
)
def test_a_configuration_that_cannot_be_names_the_mistake(mistake: dict[str, float], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        AudioEncoderConfig(**mistake)
