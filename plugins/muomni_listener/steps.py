"""What ``muomni trace`` shows of the audio encoder, in words; the numbers are measured."""

from __future__ import annotations

from muomni_cli.api import Step
from muomni_listener.model import Listener


def steps(module: Listener) -> list[Step]:
    """From samples to tokens."""
    config = module.config
    rate = config.sample_rate / config.hop
    return [
        Step(
            at="mel",
            title="mel spectrogram",
            what=f"power in {config.n_mels} mel bins every {config.hop} samples ({rate:g} Hz), then its logarithm",
            counts=lambda a, b: f"{a[1]:,} samples -> {b[1]:,} mel frames",
        ),
        *(_convolution(number, config.convolutions) for number in range(config.convolutions)),
        Step(
            at="downsample.in_rows",
            title="reshape",
            what="the channels and bins of a frame stand one after the other",
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
                what="every token looks at all tokens (RoPE), then an MLP, each added to its input",
                counts=lambda a, b: f"{a[1]:,} tokens -> {b[1]:,} tokens",
            )
            for number in range(len(module.blocks))
        ),
        Step(at="norm", title="final norm", what="RMSNorm"),
    ]


def _convolution(number: int, count: int) -> Step:
    first = "centres and scales the log-mel; " if number == 0 else "GELU; "
    return Step(
        at=f"downsample.convolutions.{number}",
        title=f"convolution {number + 1} of {count}",
        what=f"{first}3 x 3 with stride 2 halves time and frequency",
        counts=lambda a, b: f"{a[2]:,} frames -> {b[2]:,} frames, {a[3]} bins -> {b[3]} bins",
    )
