"""The peer that the audio encoder's speed is measured against: its sizes, and that it takes what ours takes."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("transformers")

from muomni_audio_encoder.model import build
from muomni_audio_encoder.peer import whisper, whisper_at_our_rate
from muomni_audio_encoder.plugin import AudioEncoderConfig


def test_the_layers_are_as_large_as_ours() -> None:
    config = AudioEncoderConfig()
    ours, theirs = build(config), whisper(config)
    # Each norm has a bias more, the keys have one less.
    difference = 2 * config.d_model - config.d_model
    assert len(theirs.encoder.layers) == len(ours.blocks)
    for block, layer in zip(ours.blocks, theirs.encoder.layers, strict=True):
        counts = [sum(p.numel() for p in one.parameters()) for one in (block, layer)]
        assert counts[1] - counts[0] == difference


@pytest.mark.parametrize(("make", "rate"), [(whisper, 50), (whisper_at_our_rate, 25)])
def test_sounds_of_any_length_in_turn(make: object, rate: int) -> None:
    config = AudioEncoderConfig(channels=4, d_model=16, n_layers=1, n_heads=2, d_ff=32)
    peer = make(config)  # type: ignore[operator]
    for seconds, rows in ((1, 2), (3, 1), (60, 1), (1, 1)):
        output = peer(torch.zeros(rows, seconds * 16000))
        assert output.tokens.shape == (rows, seconds * rate, 16)
        assert output.lengths == [seconds * rate] * rows


def test_it_hears_and_learns() -> None:
    config = AudioEncoderConfig(channels=4, d_model=16, n_layers=1, n_heads=2, d_ff=32)
    torch.manual_seed(0)
    peer = whisper(config)
    one, other = torch.randn(2, 1, 16000).unbind(0)
    assert not torch.allclose(peer(one).tokens, peer(other).tokens, atol=1e-3)
    peer(one).tokens.square().mean().backward()
    trained = [name for name, p in peer.named_parameters() if p.grad is not None]
    assert {"encoder.conv1.weight", "encoder.layers.0.fc1.weight"} <= set(trained)
    assert "encoder.embed_positions.weight" not in trained
