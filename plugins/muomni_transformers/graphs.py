"""Export graphs of pretrained encoders, normalization or log-mel included, and steps for ``muomni trace``."""

from __future__ import annotations

from typing import Any

from torch import nn

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import FunctionGraph, quiet
from muomni_transformers.vision import VisionEncoder
from muomni_transformers.whisper import WhisperEncoder


def image_graphs(module: VisionEncoder) -> list[Graph]:
    size = module.config.size
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, VisionEncoder.tokens),  # pictures of 0 to 255, as they are read -> (B,T,W)
            inputs=[GraphInput("inputs", ("batch", 3, size, size), GraphInput.below(256, "uint8"))],
            outputs=["tokens"],
            cases={"traced": {"batch": 2}, "one": {"batch": 1}, "three": {"batch": 3}},
        )
    ]


def audio_graphs(module: WhisperEncoder) -> list[Graph]:
    config = module.config
    return [
        Graph(
            name="encoder",
            module=FunctionGraph(module, WhisperEncoder.encode),  # (B,N) samples without padding -> (B,T,W)
            inputs=[GraphInput("inputs", ("batch", "samples"), quiet)],
            outputs=["tokens"],
            cases={
                "traced": {"batch": 2, "samples": 4 * config.frame + 3},
                "shortest": {"batch": 1, "samples": config.frame},
                "longest": {"batch": 3, "samples": config.window},
            },
        )
    ]


def image_steps(module: VisionEncoder) -> list[Step]:
    """From pixels to tokens."""
    return [
        Step(at="normalize", title="normalization", what="pixels as the checkpoint was trained on them"),
        Step(at="tower.embeddings", title="patch embedding", what="each patch as a vector, with its position"),
        *_blocks(module.tower),
        Step(
            at="pool",
            title="tokens",
            what="all patches, or their means",
            counts=lambda a, b: f"{a[1]:,} patches -> {b[1]:,} tokens",
        ),
    ][: -1 if module.config.tokens == "pooled" else None]


def audio_steps(module: WhisperEncoder) -> list[Step]:
    """From samples to frames."""
    return [
        Step(
            at="mel",
            title="mel spectrogram",
            what="log power every 10 ms, relative to the loudest",
            counts=lambda a, b: f"{a[1]:,} samples -> {b[2]:,} mel frames",
        ),
        Step(at="tower.conv1", title="convolution 1", what="from mel bins to the width of the blocks"),
        Step(at="tower.conv2", title="convolution 2", what="stride 2: 50 frames a second"),
        *_blocks(module.tower),
        Step(at="tower.layer_norm", title="final norm", what="LayerNorm"),
    ]


def _blocks(tower: nn.Module) -> list[Step]:
    """The blocks of a tower, whatever their list is called there."""
    model: Any = tower
    inner = getattr(model, "encoder", model)
    at = "tower.encoder" if inner is not model else "tower"
    name = "layers" if hasattr(inner, "layers") else "layer"
    count = len(getattr(inner, name))
    what = "every token attends to all tokens, then an MLP, both with residual connections"
    return [Step(at=f"{at}.{name}.{n}", title=f"block {n + 1} of {count}", what=what) for n in range(count)]
