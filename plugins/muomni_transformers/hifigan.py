"""HiFi-GAN (arXiv:2010.05646) of transformers as a vocoder, and its export graph.

Shapes: B batch, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from muomni_cli.api import Graph, GraphInput, MelConfig, require_mel
from muomni_cli.audio.context_stream import ContextStream
from muomni_cli.nn.onnx_stack import FunctionGraph
from muomni_transformers.runtime import BLOCK
from muomni_transformers.speech_settings import HifiGanConfig


class HifiGan(nn.Module):
    """A :class:`muomni_cli.api.Vocoder` over ``tower``, a model of transformers. ``ignored`` and ``renamed`` as of
    :class:`muomni_transformers.vision.VisionEncoder`."""

    ignored: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def __init__(self, config: HifiGanConfig, mel: MelConfig) -> None:
        super().__init__()
        require_mel("hifigan", config.mel, mel)
        self.config, self.mel = config, mel
        self.tower = SpeechT5HifiGan(
            SpeechT5HifiGanConfig(
                model_in_dim=mel.n_mels,
                sampling_rate=mel.sample_rate,
                upsample_initial_channel=config.channels,
                upsample_rates=list(config.rates),
                upsample_kernel_sizes=list(config.kernels),
                resblock_kernel_sizes=list(config.resblock_kernels),
                resblock_dilation_sizes=[list(row) for row in config.resblock_dilations],
                leaky_relu_slope=config.slope,
                normalize_before=config.normalized,
            )
        )

    def forward(self, mel: Tensor) -> Tensor:
        """(B,M,F) log-mel -> (B, hop*M) samples."""
        return self.tower(mel)  # type: ignore[no-any-return]

    def stream(self, batch: int = 1) -> ContextStream:
        """The same for chunks of (B,M,F), block by block, each with what it depends on at both sides."""
        return streamed(self, batch)


def streamed(vocoder: Any, batch: int) -> ContextStream:
    """A stream through a vocoder that is not causal and keeps no state."""
    reach, nothing = vocoder.config.reach, next(vocoder.parameters()).new_zeros(batch, 0)
    run, join = torch.no_grad()(vocoder.forward), partial(torch.cat, dim=1)
    return ContextStream(run, vocoder.mel.hop, before=reach, after=reach, most=BLOCK, nothing=nothing, join=join)


def graphs(module: Any) -> list[Graph]:
    """(B,M,F) log-mel of a stretch of speech -> (B, hop*M) samples; without state."""
    return [
        Graph(
            name="vocoder",
            module=FunctionGraph(module),
            inputs=[GraphInput("mel", ("batch", "frames", module.mel.n_mels))],
            outputs=["samples"],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "batch 3": {"batch": 3, "frames": 40},
            },
        )
    ]


build = HifiGan
