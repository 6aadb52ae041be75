"""The vocoders as graphs: log-mel and state in, samples and state out.

Shapes: B batch, M mel frames, A mel frames of lookahead, F mel bins, K frequencies, W samples of a window.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput
from muomni_cli.nn.onnx_stack import ones, quiet
from muomni_cli.nn.streaming import joined
from muomni_vocoders.dispersion import FRAMES
from muomni_vocoders.griffin_lim import TINY, DftAnalysis, GriffinLim, OverlapAdd, OverlapAddStream, predicted, turns
from muomni_vocoders.vocos import Vocos

TOLERANCE = 1e-3  # of samples, full scale 1
OVERLAP = {"tail": "tail_now", "weight": "weight_now"}  # the states of :class:`OverlapAdd`


class VocoderGraph(nn.Module):
    """(B,M,F) log-mel, (1,M) factors and state -> the outputs of :class:`OverlapAdd`, and state. Frames come late by
    the lookahead: the factor is 0 for those before the start, and 1 for all others."""

    def __init__(self, vocoder: Vocos) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.laying = OverlapAdd(vocoder.mel, vocoder.window, vocoder.mel.window // 2)

    def forward(
        self, mel: Tensor, real: Tensor, tail: Tensor, weight: Tensor, held: Tensor, turn: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        """``held``: (B,A,F) the mel before, ``turn``: (1,) frames before, modulo ``FRAMES``, ``past``: the backbone's
        state."""
        vocoder, config = self.vocoder, self.vocoder.config
        hidden, present = vocoder.backbone((mel - config.mel_mean) / config.mel_scale, past)
        known, held = joined(mel, held, config.lookahead)
        magnitudes, phases = vocoder.polar(vocoder.head(hidden), known[:, : mel.shape[1]], turn)
        spectrum = torch.cat((magnitudes * phases.cos(), magnitudes * phases.sin()), dim=2).transpose(1, 2)
        made = self.laying(spectrum, real, tail, weight, self.laying.kernel())
        return *made, held, (turn + mel.shape[1]) % FRAMES, *present


class GriffinLimGraph(nn.Module):
    """One block of Griffin-Lim: (B,M,F) log-mel, its (B,A,F) lookahead, and state -> samples of the block, and state;
    other outputs as of :class:`OverlapAdd`.

    ``known`` (B,2K,P): the spectrum that the block before found for its lookahead, P = 0 in the first block; ``last``
    (B,2K): that of its last frame, zeros in the first block.
    """

    def __init__(self, vocoder: GriffinLim) -> None:
        super().__init__()
        self.vocoder = vocoder
        self.analysis = DftAnalysis(vocoder.mel, vocoder.window)
        self.laying = OverlapAdd(vocoder.mel, vocoder.window)

    def forward(
        self, mel: Tensor, ahead: Tensor, tail: Tensor, weight: Tensor, last: Tensor, known: Tensor
    ) -> tuple[Tensor, ...]:
        magnitudes = self.vocoder.magnitudes(torch.cat((mel, ahead), dim=1))
        guess = self._guess(magnitudes, last, known)
        ones = torch.ones_like(magnitudes[:1, :, 0])
        scale = 1 / self.laying.weights(ones, weight).clamp_min(self.laying.least)
        laid = self.laying.kernel()
        found = self._settled(guess, magnitudes.transpose(1, 2), tail, scale, laid)
        done = mel.shape[1]
        made = self.laying(found[:, :, :done], ones[:, :done], tail, weight, laid)
        return *made, found[:, :, -1], found[:, :, done:]

    def _guess(self, magnitudes: Tensor, last: Tensor, known: Tensor) -> Tensor:
        """(B,T,K) magnitudes -> (B,2K,T): ``known``, then :func:`muomni_vocoders.griffin_lim.predicted` after ``last``.
        Known frames are masked, not cut off, so no length depends on a difference of others."""
        mel = self.vocoder.mel
        fresh = torch.arange(magnitudes.shape[1], device=known.device) >= known.shape[2]
        moved = turns(magnitudes, mel.hop, mel.n_fft) * fresh[:, None]
        phases = (2 * math.pi * moved.cumsum(1)).transpose(1, 2)
        real, imag = (half[..., None] for half in last.chunk(2, dim=1))
        power = real.square() + imag.square()
        silent = power == 0
        length = torch.where(silent, 1.0, power).sqrt()
        cosine, sine = torch.where(silent, 1.0, real / length), imag / length
        turned = phases.cos() * cosine - phases.sin() * sine, phases.cos() * sine + phases.sin() * cosine
        new = torch.cat(turned, dim=1) * torch.cat((magnitudes, magnitudes), dim=2).transpose(1, 2)
        old = torch.cat((known, torch.zeros_like(new)), dim=2)[:, :, : magnitudes.shape[1]]
        return torch.where(fresh, new, old)

    def _settled(self, spectrum: Tensor, magnitudes: Tensor, tail: Tensor, scale: Tensor, laid: Tensor) -> Tensor:
        """(B,2K,T) and (B,K,T) -> (B,2K,T), as :meth:`GriffinLim.settled`. ``laid``: of :meth:`OverlapAdd.kernel`."""
        config, listened = self.vocoder.config, self.analysis.kernel()
        push, last = config.momentum / (1 + config.momentum), None
        for _ in range(config.iterations):
            heard = self.analysis(self.laying.sums(spectrum, tail, laid) * scale, listened)
            moved = heard if last is None else heard - push * last
            last = heard
            real, imag = moved.chunk(2, dim=1)
            factor = (real.square() + imag.square() + TINY).rsqrt() * magnitudes
            spectrum = torch.cat((real * factor, imag * factor), dim=1)
        return spectrum


def vocos_graphs(module: Vocos) -> list[Graph]:
    mel, config = module.mel, module.config
    memories = module.backbone.memories
    states = {
        **OVERLAP,
        "held": "held_now",
        "turn": "turn_now",
        **{f"past.{n}": f"present.{n}" for n in range(len(memories))},
    }

    def by_fft(
        given: Tensor, real: Tensor, tail: Tensor, weight: Tensor, held: Tensor, turn: Tensor, *past: Tensor
    ) -> tuple[Tensor, ...]:
        assert bool((real == 1).all()), "the overlap takes no frames before the start"
        frames, (*present, kept, now) = module.step(given, (*past, held, turn))
        return *_laid(module, frames, tail, weight), kept, now, *present

    return [
        Graph(
            name="vocoder",
            module=VocoderGraph(module),
            inputs=[
                GraphInput("mel", ("batch", "frames", mel.n_mels), levels),
                GraphInput("real", (1, "frames"), ones),
                *_overlap_inputs(module),
                GraphInput("held", ("batch", config.lookahead, mel.n_mels), levels),
                GraphInput("turn", (1,), GraphInput.below(FRAMES)),
                *(GraphInput(f"past.{n}", ("batch", *shape)) for n, shape in enumerate(memories)),
            ],
            outputs=["samples", "rest", *states.values()],
            cases={
                "traced": {"batch": 2, "frames": 5},
                "one frame": {"batch": 1, "frames": 1},
                "batch 3": {"batch": 3, "frames": 40},
            },
            states=states,
            initial_sizes={"batch": 2, "frames": 3},
            calls=100,
            reference=by_fft,
            tolerance=TOLERANCE,
        )
    ]


def griffin_lim_graphs(module: GriffinLim) -> list[Graph]:
    mel, config = module.mel, module.config
    double, late = 2 * (mel.n_fft // 2 + 1), config.lookahead

    def by_fft(
        given: Tensor, ahead: Tensor, tail: Tensor, weight: Tensor, last: Tensor, known: Tensor
    ) -> tuple[Tensor, ...]:
        magnitudes = module.magnitudes(torch.cat((given, ahead), dim=1))
        new = predicted(magnitudes[:, known.shape[2] :], torch.complex(*last.chunk(2, dim=1)), mel.hop, mel.n_fft)
        guess = torch.cat((torch.complex(*known.chunk(2, dim=1)).transpose(1, 2), new), dim=1)
        before = OverlapAddStream(module.window, mel.hop, given.shape[0])
        before.resume(tail, weight)
        found = module.settled(guess, magnitudes, before)
        parts = torch.cat((found.real, found.imag), dim=2).transpose(1, 2)
        done = given.shape[1]
        made = _laid(module, module.synthesized(found[:, :done]), tail, weight)
        return *made, parts[:, :, -1], parts[:, :, done:]

    states = {**OVERLAP, "last": "last_now", "known": "known_now"}
    first, block = min(config.first, config.block), config.block
    return [
        Graph(
            name="vocoder",
            module=GriffinLimGraph(module),
            inputs=[
                GraphInput("mel", ("batch", "frames", mel.n_mels), levels),
                GraphInput("ahead", ("batch", "ahead", mel.n_mels), levels),
                *_overlap_inputs(module),
                GraphInput("last", ("batch", double)),
                GraphInput("known", ("batch", double, "known")),
            ],
            outputs=["samples", "rest", *states.values()],
            cases={
                "traced": {"batch": 2, "frames": 7, "ahead": 4, "known": 3},
                "the first block": {"batch": 1, "frames": first, "ahead": late, "known": 0},
                "a block": {"batch": 1, "frames": block, "ahead": late, "known": late},
                "the last block": {"batch": 3, "frames": late + 1, "ahead": 0, "known": late},
                "one frame alone": {"batch": 1, "frames": 1, "ahead": 0, "known": 0},
            },
            states=states,
            initial_sizes={"batch": 2, "frames": block, "ahead": late, "known": 0},
            calls=20,
            reference=by_fft,
            tolerance=TOLERANCE,
            unchecked=frozenset({"last_now", "known_now"}),  # initial phases, which momentum drives apart
        )
    ]


def _overlap_inputs(module: Vocos | GriffinLim) -> list[GraphInput]:
    size = module.mel.window - module.mel.hop
    return [GraphInput("tail", ("batch", size), quiet), GraphInput("weight", (1, size), ones)]


def _laid(module: Vocos | GriffinLim, frames: Tensor, tail: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """The outputs of :class:`OverlapAdd`, from :class:`OverlapAddStream` over (B,T,W) windowed frames."""
    overlap = OverlapAddStream(module.window, module.mel.hop, frames.shape[0])
    overlap.resume(tail, weight)
    samples = overlap.push(frames)
    left, counted = overlap.left
    return samples, left / counted.clamp_min(overlap.least), left, counted


def levels(random: Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Log-mel at the levels of speech, in nats."""
    return (2 * random.standard_normal(shape) - 4).astype(np.float32)
