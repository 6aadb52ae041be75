"""Export graphs of the audio encoder (mel spectrogram included) and its CTC head, and steps for ``muomni trace``."""

from __future__ import annotations

from muomni_audio_encoder.model import AudioEncoder
from muomni_audio_encoder.recognizer import Recognizer
from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import FunctionGraph, quiet


def graphs(module: AudioEncoder) -> list[Graph]:
    config = module.config
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, AudioEncoder.encode),  # (B,N) waveforms without padding -> (B,T,W)
            inputs=[GraphInput("inputs", ("batch", "samples"), quiet)],
            outputs=["tokens"],
            cases={
                "traced": {"batch": 2, "samples": config.sample_rate // 4 + 3},
                "shortest": {"batch": 1, "samples": config.shortest},
                "a second, batch 3": {"batch": 3, "samples": config.sample_rate},
                "longer": {"batch": 1, "samples": config.sample_rate * 3 + config.hop - 1},
            },
        )
    ]


def head_graphs(module: Recognizer) -> list[Graph]:
    return [
        Graph(
            name="head",
            module=FunctionGraph(module, Recognizer.score),  # (B,T,W) -> (B,T,C) log-probabilities of characters
            inputs=[GraphInput("tokens", ("batch", "tokens", module.encoder.width))],
            outputs=["scores"],
            cases={
                "traced": {"batch": 2, "tokens": 3},
                "one token": {"batch": 1, "tokens": 1},
                "20 seconds": {"batch": 1, "tokens": 500},
            },
        )
    ]


def steps(module: AudioEncoder) -> list[Step]:
    """From samples to tokens."""
    config = module.config
    rate = config.sample_rate / config.hop
    return [
        Step(
            at="mel",
            title="mel spectrogram",
            what=f"log power in {config.n_mels} mel bins every {config.hop} samples ({rate:g} Hz)",
            counts=lambda a, b: f"{a[1]:,} samples -> {b[1]:,} mel frames",
        ),
        *(_convolution(number, config.convolutions) for number in range(config.convolutions)),
        Step(
            at="downsample.in_rows",
            title="reshape",
            what="flattens the channels and bins of each frame",
            counts=lambda a, b: f"{a[1]} channels x {a[3]} bins -> {b[2]:,} numbers a frame",
        ),
        Step(
            at="downsample.proj",
            title="projection",
            what="GELU; one linear layer to the encoder's width",
            counts=lambda a, b: f"{a[1]:,} frames -> {b[1]:,} tokens of {b[2]}",
        ),
        *(
            Step(
                at=f"blocks.{number}",
                title=f"block {number + 1} of {len(module.blocks)}",
                what="every token attends to all tokens (RoPE), then an MLP, both with residual connections",
                counts=lambda a, b: f"{a[1]:,} tokens -> {b[1]:,} tokens",
            )
            for number in range(len(module.blocks))
        ),
        Step(at="norm", title="final norm", what="RMSNorm"),
    ]


def _convolution(number: int, count: int) -> Step:
    first = "normalizes the log-mel; " if number == 0 else "GELU; "
    return Step(
        at=f"downsample.convolutions.{number}",
        title=f"convolution {number + 1} of {count}",
        what=f"{first}3 x 3 with stride 2 halves time and frequency",
        counts=lambda a, b: f"{a[2]:,} frames -> {b[2]:,} frames, {a[3]} bins -> {b[3]} bins",
    )
