"""The codec: the shapes of the specification, what a frame may see, and pieces that are the whole."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.api import MelConfig, RequestError
from muomni_cli.audio.io import read
from muomni_cli.audio.mel import LogMel
from muomni_cli.contract.speech import TensorStream
from muomni_rvq.graphs import steps
from muomni_rvq.model import RvqCodec, build
from muomni_rvq.plugin import CodecConfig

TINY = CodecConfig(
    mel=MelConfig(n_mels=16), width=24, fine_width=12, code_dim=6, encoder_layers=2, decoder_layers=2, codebook_size=9
)


def lively(**changes: object) -> RvqCodec:
    """A small codec in which every layer has its say."""
    torch.manual_seed(1)
    codec = build(TINY.model_copy(update=changes)).eval()
    with torch.no_grad():
        for name, parameter in codec.named_parameters():
            if name.endswith("scale"):
                parameter.fill_(1.0)
            elif name.endswith("bias"):
                parameter.uniform_(-0.5, 0.5)
    return codec


def test_the_shapes_of_the_specification() -> None:
    """Part 5: 300 frames after the start frame; part 6: two rows of 50."""
    codec = build(CodecConfig())
    codes = torch.randint(128, (1, 301, 2))
    assert codes.numel() == 602
    with torch.inference_mode():
        frames = codec.decode(codes)
        assert frames.shape == (1, 301, 128)
        mel = codec.expand(frames)
        assert mel.shape == (1, 2408, 128)
        again = codec.encode(codec.windows(mel))
    assert (again.shape, again.dtype) == ((1, 301, 2), torch.int64)
    assert 2408 * codec.mel.hop == 385_280
    batch = codec.encode(torch.randn(2, 50, 128))
    assert batch.shape == (2, 50, 2)
    assert 0 <= int(batch.min()) <= int(batch.max()) < 128
    assert (codec.frame, codec.codebooks, codec.codebook_size) == (8, 2, 128)


def test_up_to_eight_codebooks_of_1024() -> None:
    codec = lively(codebooks=8, codebook_size=1024)
    codes = codec.encode(torch.randn(1, 5, 16))
    assert codes.shape == (1, 5, 8)
    assert codec.decode(codes).shape == (1, 5, 16)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 2), st.integers(1, 2))
def test_a_stream_is_the_whole(cuts: list[int], lookahead: int, batch: int) -> None:
    codec = lively(lookahead=lookahead)
    frames = torch.randn(batch, sum(cuts), 16)
    stream: TensorStream = codec.stream(batch)
    pieces = [stream.push(piece) for piece in frames.split(cuts, dim=1)]
    whole = codec.expand(frames)
    assert sum(piece.shape[1] for piece in pieces) == 8 * max(0, sum(cuts) - lookahead)
    got = torch.cat([whole[:, :0], *pieces, stream.finish()], dim=1)
    torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_a_later_code_changes_nothing_before_the_lookahead(lookahead: int) -> None:
    codec = lively(lookahead=lookahead)
    codes = torch.randint(9, (1, 20, 2))
    changed = codes.clone()
    changed[:, 12] = (changed[:, 12] + 1) % 9
    one, other = (codec.expand(codec.decode(which)) for which in (codes, changed))
    moved = (one != other).any(-1)[0].nonzero()
    assert moved.min() == 8 * (12 - lookahead)


def test_a_batch_is_its_rows() -> None:
    codec, mel = lively(), torch.randn(3, 48, 16) * 3 - 5
    codes = codec.encode(codec.windows(mel))
    made = codec(mel)
    for row in range(3):
        alone = mel[row : row + 1]
        assert torch.equal(codec.encode(codec.windows(alone)), codes[row : row + 1])
        torch.testing.assert_close(codec(alone), made[row : row + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [7, 4])
def test_a_row_with_silence_after_it_is_the_row_alone(kernel: int) -> None:
    codec, mel = lively(kernel=kernel), torch.randn(1, 48, 16) * 3 - 5
    silence = torch.full((1, 160, 16), math.log(codec.mel.mel_floor))
    longer = codec.windows(torch.cat([mel, silence], dim=1))[:, :6]
    torch.testing.assert_close(longer, codec.windows(mel), atol=1e-5, rtol=1e-5)
    other = codec.windows(torch.cat([mel, silence + 3], dim=1))[:, :6]
    assert (other - longer).abs().max() > 1e-3, "what follows is heard at all"


def test_log_mel_that_does_not_fit_is_refused() -> None:
    codec = lively()
    for shape in ((1, 7, 16), (1, 8, 17)):
        with pytest.raises(RequestError, match="does not fit the codec"):
            codec.windows(torch.zeros(shape))


def test_files_are_read_at_the_rate_of_the_mel() -> None:
    config = CodecConfig()
    file = io.BytesIO()
    soundfile.write(file, np.zeros(4000), 8000, format="WAV")
    wave = read(config, file, "a.wav")
    assert wave.shape == (8000,)
    mel = LogMel(config.mel)(torch.from_numpy(wave[: 8000 // config.samples * config.samples])[None])
    assert mel.shape == (1, 48, 128)
    short = io.BytesIO()
    soundfile.write(short, np.zeros(config.shortest - 1), 16000, format="WAV")
    with pytest.raises(RequestError, match=r"39\.94 ms long, less"):
        read(config, short, "b.wav")


def test_steps_name_what_happens() -> None:
    codec = lively()
    by_title = {step.title: step for step in steps(codec)}
    assert all(hasattr(codec, step.at) for step in by_title.values())
    told = by_title["codes to frames"].counts
    assert told is not None
    assert told((1, 301, 2), (1, 301, 128)) == "602 code indices -> 301 code frames of 128"
