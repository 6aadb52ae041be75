"""The codec's graphs for export, samples to codes and (streaming) codes to log-mel, and its steps for ``muomni trace``.

Shapes: B batch, T code frames, N samples of a code frame, F mel bins, Q codebooks.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.audio.mel import LogMel
from muomni_cli.nn.onnx_stack import FunctionGraph, ones, quiet
from muomni_rvq.model import RvqCodec


class CodecEncoderGraph(nn.Module):
    """(B,T,N) samples -> (B,T,Q) codes, and the (B,T,F) frames before quantization. The log-mel is computed inside, by
    matrix products."""

    def __init__(self, codec: RvqCodec) -> None:
        super().__init__()
        self.codec, self.mel = codec, LogMel(codec.mel)

    def forward(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        encoder, silence = self.codec.encoder, self.codec.mel.silent_level
        padded = F.pad(self.mel(waves.flatten(1)), (0, 0, 0, encoder.reach * encoder.frame), value=silence)
        frames = encoder(padded)[:, : waves.shape[1]]
        return self.codec.encode(frames), frames


def decode(codec: RvqCodec, codes: Tensor, real: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
    """(B,T,Q) codes, (B,T) factors and the decoder's state -> (B, frame*T, F) log-mel, late by the lookahead, and the
    state. The factor is 1 for a real frame and 0 for the silence that flushes the lookahead after the end."""
    mel, present = codec.decoder(codec.decode(codes) * real[..., None], past)
    return mel, *present


def graphs(module: RvqCodec) -> list[Graph]:
    memories = module.decoder.memories
    states = {f"past.{number}": f"present.{number}" for number in range(len(memories))}

    def by_its_own(waves: Tensor) -> tuple[Tensor, Tensor]:
        frames = module.windows(LogMel(module.mel)(waves.flatten(1)))
        return module.encode(frames), frames

    return [
        Graph(
            name="encoder",
            module=CodecEncoderGraph(module),
            inputs=[GraphInput("waves", ("batch", "frames", module.config.samples), quiet)],
            outputs=["codes", "frames"],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "batch 3": {"batch": 3, "frames": 7},
                "16 seconds": {"batch": 1, "frames": 200},
            },
            reference=by_its_own,
            max_mismatch_fraction=0.01,
        ),
        Graph(
            name="decoder",
            module=FunctionGraph(module, decode),
            inputs=[
                GraphInput("codes", ("batch", "frames", module.codebooks), GraphInput.below(module.codebook_size)),
                GraphInput("real", ("batch", "frames"), ones),
                *(GraphInput(name, ("batch", *shape)) for name, shape in zip(states, memories, strict=True)),
            ],
            outputs=["mel", *states.values()],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "batch 3": {"batch": 3, "frames": 40},
            },
            states=states,
            initial_sizes={"batch": 2, "frames": 1},
            calls=100,
        ),
    ]


def steps(module: RvqCodec) -> list[Step]:
    config = module.config
    milliseconds = 1000 * config.samples / config.sample_rate
    return [
        Step(
            at="windows",
            title="windows",
            what=f"{config.frame} mel frames ({milliseconds:g} ms) become one vector that depends on its context",
            counts=lambda a, b: f"{a[1]:,} mel frames -> {b[1]:,} code frames of {b[2]}",
        ),
        Step(
            at="encode",
            title="residual quantization",
            what=f"the nearest of {config.codebook_size} codes, then the nearest to the residual, and so on",
            counts=lambda a, b: f"{a[1]:,} code frames -> {b[1] * b[2]:,} code indices",
        ),
        Step(
            at="decode",
            title="codes to frames",
            what="the sum of a frame's code vectors; one linear layer to the width of a mel frame",
            counts=lambda a, b: f"{a[1] * a[2]:,} code indices -> {b[1]:,} code frames of {b[2]}",
        ),
        Step(
            at="expand",
            title="frames to log-mel",
            what=f"causal blocks with a lookahead of {config.lookahead}; each frame becomes {config.frame} mel frames",
            counts=lambda a, b: f"{a[1]:,} code frames -> {b[1]:,} mel frames of {b[2]} bins",
        ),
    ]
