"""The audio encoder against the specification's shapes, and the properties that batches rely on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muomni_audio_encoder.model import AudioEncoder, build
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.runtime import count
from muomni_cli.api import RequestError
from muomni_cli.registry.registry import get_registry

Lively = Callable[..., AudioEncoder]
Wave = NDArray[np.float64]


def noise(samples: int, rows: int = 1, seed: int = 0) -> Tensor:
    """(rows, samples) of noise that grows and fades, so that every token differs."""
    waves = 0.3 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(seed))
    return waves * torch.sin(torch.arange(samples) / 700)


def padded(rows: list[Tensor], filler: float) -> tuple[Tensor, list[int]]:
    lengths = [row.shape[1] for row in rows]
    batch = torch.full((len(rows), max(lengths) + 500), filler)
    for b, row in enumerate(rows):
        batch[b, : lengths[b]] = row[0]
    return batch, lengths


@pytest.fixture(scope="module")
def spec() -> AudioEncoder:
    return build(AudioEncoderConfig()).eval()


def test_parameter_count_of_the_specification(spec: AudioEncoder) -> None:
    assert sum(p.numel() for p in spec.parameters()) == 2_209_088
    assert [sum(p.numel() for p in part.parameters()) for part in (spec.mel, spec.downsample, spec.blocks[0])] == [
        0,
        430_976,
        444_480,
    ]


@torch.no_grad()
def test_under_autocast_the_stream_stays_in_the_weights_precision(lively: Lively) -> None:
    model = lively()
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(noise(4000)).tokens
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, model(noise(4000)).tokens, atol=0.1, rtol=0.1)


@torch.no_grad()
def test_every_shape_of_the_audio_pipeline(spec: AudioEncoder) -> None:
    seen: list[tuple[int, ...]] = []
    hooked = [spec.mel, *spec.downsample.convolutions, spec.downsample.proj, *spec.blocks]
    handles = [part.register_forward_hook(lambda _part, _in, out: seen.append(tuple(out.shape))) for part in hooked]
    output = spec(noise(16000))
    for handle in handles:
        handle.remove()
    assert seen == [(1, 100, 128), (1, 64, 50, 64), (1, 64, 25, 32), (1, 25, 192), *4 * [(1, 25, 192)]]
    assert output.tokens.shape == (1, 25, 192)
    assert output.lengths == [25]
    assert spec.width == 192


@pytest.mark.parametrize(
    ("downsample", "samples", "tokens"),
    [
        *((4, 640, 1), (4, 16000, 25), (4, 8000, 13), (4, 32000, 50), (4, 160000, 250), (4, 16639, 26)),
        *((8, 1280, 1), (8, 16000, 13), (8, 32000, 25), (8, 160000, 125)),
    ],
)
@torch.no_grad()
def test_tokens_a_second(lively: Lively, downsample: int, samples: int, tokens: int) -> None:
    model = lively(downsample=downsample)
    output = model(noise(samples))
    assert output.tokens.shape == (1, tokens, 32)
    assert output.lengths == [tokens] == [count(model.config, np.zeros(samples))]


@pytest.mark.parametrize("downsample", [4, 8])
@pytest.mark.parametrize("filler", [0.0, 1.0, float("nan")])
@torch.no_grad()
def test_padding_changes_nothing_and_a_batch_equals_singles(lively: Lively, downsample: int, filler: float) -> None:
    model = lively(downsample=downsample)
    rows = [noise(n, seed=n) for n in (1280, 1281, 3999, 9120, 9280, 9440, 9600, 16000)]
    batch, lengths = padded(rows, filler)
    output = model(batch, lengths)
    for b, row in enumerate(rows):
        single = model(row)
        assert output.lengths[b] == single.lengths[0] == single.tokens.shape[1]
        torch.testing.assert_close(output.tokens[b, : output.lengths[b]], single.tokens[0], atol=1e-5, rtol=1e-5)
        assert output.tokens[b, output.lengths[b] :].abs().sum() == 0
    shorter = model(batch[:3], lengths[:3])  # fewer tokens of padding
    torch.testing.assert_close(shorter.tokens, output.tokens[:3, : shorter.tokens.shape[1]], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_rows_may_stand_in_any_order(lively: Lively) -> None:
    model, (batch, lengths) = lively(), padded([noise(n, seed=n) for n in (3200, 8000, 5000)], 0.0)
    there = model(batch, lengths)
    back = model(batch.flip(0), lengths[::-1])
    assert back.lengths == there.lengths[::-1]
    torch.testing.assert_close(back.tokens.flip(0), there.tokens, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_last_and_the_first_sample_are_heard_by_every_token(lively: Lively) -> None:
    model, wave = lively(), noise(16000)
    before = model(wave).tokens
    for place in (slice(0, 400), slice(-400, None)):
        changed = wave.clone()
        changed[:, place] += 0.5
        assert ((model(changed).tokens - before).abs().amax(2) > 1e-4).all()


@torch.no_grad()
def test_order_in_time_matters(lively: Lively) -> None:
    """Equal tokens at both ends of a row differ only by where they stand."""
    model = lively()
    model.downsample.proj.register_forward_hook(lambda _part, _in, out: out[:, [0, 1, 2, 0]])
    tokens = model(noise(2560)).tokens[0]
    assert (tokens[0] - tokens[3]).abs().max() > 1e-3


def test_padding_gives_no_gradient_and_every_weight_gets_one(lively: Lively) -> None:
    model = lively()
    waves = noise(8000, rows=2).requires_grad_()
    output = model(waves, [4000, 8000])
    output.tokens.square().sum().backward()
    assert waves.grad is not None
    assert waves.grad[0, 4000:].abs().max() == 0
    assert waves.grad[0, :3840].abs().max() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_it_learns_a_tiny_batch_by_heart(voice: Callable[..., Wave]) -> None:
    torch.manual_seed(0)
    config = AudioEncoderConfig(n_mels=32, channels=8, d_model=32, n_layers=2, n_heads=2, d_ff=64)
    model, head = build(config), nn.Linear(32, 6)
    spoken = [torch.from_numpy(voice(16000, 0.3 + pitch / 1000, pitch)).float()[None] for pitch in range(100, 220, 20)]
    waves, lengths = padded(spoken, 0.0)
    targets = torch.arange(6)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    losses = []
    for _ in range(80):
        output = model(waves, lengths)
        pooled = output.tokens.sum(1) / torch.tensor(output.lengths)[:, None]
        loss = nn.functional.cross_entropy(head(pooled), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.5
    assert losses[-1] < 0.05, losses[-1]


@torch.no_grad()
def test_weights_come_back_and_the_ears_are_not_among_them(lively: Lively, tmp_path: Path) -> None:
    model, wave = lively(), noise(8000)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    other = build(model.config).eval()
    assert not torch.equal(other(wave).tokens, model(wave).tokens)
    other.load_state_dict(load_file(tmp_path / "w.safetensors"))
    assert torch.equal(other(wave).tokens, model(wave).tokens)
    assert not [name for name in model.state_dict() if name.startswith("mel.")]


def test_dropout_only_in_training(lively: Lively) -> None:
    model, wave = lively(dropout=0.5).train(), noise(8000)
    assert not torch.equal(model(wave).tokens, model(wave).tokens)
    model.eval()
    assert torch.equal(model(wave).tokens, model(wave).tokens)


@torch.no_grad()
def test_it_exports_with_any_batch_and_any_length(lively: Lively) -> None:
    model = lively()

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = model

        def forward(self, waves: Tensor, samples: Tensor) -> Tensor:
            return self.encoder.encode(waves, samples)

    batch = torch.export.Dim("batch")
    sizes = ({0: batch, 1: torch.export.Dim.DYNAMIC}, {0: batch})
    program = torch.export.export(Graph(), (noise(8000, rows=2), torch.tensor([8000, 4000])), dynamic_shapes=sizes)
    for shape, lengths in (((1, 16000), [16000]), ((3, 6543), [6543, 640, 2222])):
        waves = noise(shape[1], rows=shape[0])
        expected = model.encode(waves, torch.tensor(lengths))
        torch.testing.assert_close(program.module()(waves, torch.tensor(lengths)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("lengths", "named"),
    [([8000], "do not describe"), ([8000, 8001], "do not describe"), ([8000, 639], "639 samples is shorter")],
)
def test_lengths_that_cannot_be_are_refused(lively: Lively, lengths: list[int], named: str) -> None:
    with pytest.raises(RequestError, match=named):
        lively()(noise(8000, rows=2), lengths)


def test_it_is_registered_and_its_plugin_imports_nothing_heavy() -> None:
    part = get_registry().get("encoder", "listener").part
    assert (part.modality, part.config) == ("audio", AudioEncoderConfig)
    code = (
        "import sys, muomni_audio_encoder.plugin\n"
        "print(sorted({'torch', 'numpy', 'soundfile', 'torchaudio'} & sys.modules.keys()))\n"
        "import muomni_cli.audio.io\n"
        "print(sorted({'torch', 'torchaudio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n[]\n", "")
