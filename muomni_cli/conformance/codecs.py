"""Conformance checks of codecs (:class:`muomni_cli.api.Codec`). Imports torch.

Shapes: B batch, T code frames, M mel frames, F mel bins, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from muomni_cli.audio.context_stream import FIRST
from muomni_cli.audio.mel import wave_stream
from muomni_cli.conformance.common import SEED
from muomni_cli.conformance.modules import log_mel, require_shape, same, streamed
from muomni_cli.contract.checks import Check, Number, PartUnderTest, check_that
from muomni_cli.contract.codecs import is_waveform
from muomni_cli.contract.declarations import CodecPart

FRAMES = 9  # code frames per input


def mel_of(codec: Any) -> Tensor:
    """(B,M,F) for :data:`FRAMES` code frames."""
    return log_mel(codec.mel, FRAMES * codec.frame)


def codes_of(codec: Any) -> Tensor:
    """(B,T,Q) random codes."""
    random = torch.Generator().manual_seed(SEED)
    return torch.randint(0, codec.codebook_size, (2, FRAMES, codec.codebooks), generator=random)


def given_of(codec: Any) -> Tensor:
    """What is encoded: (B,M,F) log-mel, or (B,N) samples of a codec of waveforms."""
    if not is_waveform(codec):
        return mel_of(codec)
    return torch.randn(2, FRAMES * codec.frame, generator=torch.Generator().manual_seed(SEED)) * 0.1


def encoded(codec: Any, given: Tensor) -> Tensor:
    """:func:`given_of` -> (B,T,Q) codes."""
    codes: Tensor = codec.encode(given if is_waveform(codec) else codec.windows(given))
    return codes


def sound_of(codec: Any, codes: Tensor) -> Tensor:
    """(B,T,Q) codes -> (B,M,F) log-mel, or (B,N) samples of a codec of waveforms."""
    made: Tensor = codec.decode(codes)
    return made if is_waveform(codec) else codec.expand(made)


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:  # noqa: ARG001 - same signature for every kind
    return [encoded(module, given_of(module)), sound_of(module, codes_of(module))]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    codec, part = subject.lively, subject.part
    assert isinstance(part, CodecPart), "a check of codecs"
    check_that(is_waveform(codec) == part.waveform, f"waveform is {part.waveform}, and it has {_mel_or_none(codec)}")
    given, codes = given_of(codec), codes_of(codec)
    made = encoded(codec, given)
    require_shape(made, (2, FRAMES, codec.codebooks), "codes")
    check_that(made.dtype == torch.int64, f"codes are {made.dtype}, not int64")
    if part.waveform:
        require_shape(codec.decode(codes), given.shape, "samples")
        return [Number("samples per code frame", codec.frame)]
    require_shape(codec.windows(given), (2, FRAMES, codec.mel.n_mels), "windows")
    back = codec.decode(codes)
    require_shape(back, (2, FRAMES, codec.mel.n_mels), "decoded frames")
    require_shape(codec.expand(back), given.shape, "log-mel of decoded frames")
    return [Number("mel frames per code frame", codec.frame)]


def _mel_or_none(codec: Any) -> str:
    return "no log-mel" if is_waveform(codec) else "a log-mel"


@torch.no_grad()
def in_range(subject: PartUnderTest) -> Sequence[Number]:
    codec, given = subject.lively, given_of(subject.lively)
    if is_waveform(codec):
        sounds = torch.cat([given, 10 * given, 0.01 * given, torch.zeros_like(given)])
    else:
        sounds = torch.cat([given, given + 8, given - 8, torch.full_like(given, codec.mel.silent_level)])
    codes = encoded(codec, sounds)
    check_that(int(codes.min()) >= 0, f"the code {int(codes.min())} is below 0")
    return [Number("largest code", int(codes.max()), codec.codebook_size - 1)]


@torch.no_grad()
def batch(subject: PartUnderTest) -> Sequence[Number]:
    codec = subject.lively
    given, codes = given_of(codec), codes_of(codec)
    read = encoded if is_waveform(codec) else _windows  # codes of log-mel may differ by rounding
    frames, sound = read(codec, given), sound_of(codec, codes)
    made, wanted, where = [], [], []
    for row in range(len(given)):
        one = slice(row, row + 1)
        made += [frames[one], sound[one]]
        wanted += [read(codec, given[one]), sound_of(codec, codes[one])]
        where += [f"what is read, row {row}", f"what is made, row {row}"]
    return [same(made, wanted, where)]


def _windows(codec: Any, mel: Tensor) -> Tensor:
    frames: Tensor = codec.windows(mel)
    return frames


@torch.no_grad()
def streams(subject: PartUnderTest) -> Sequence[Number]:
    codec, codes = subject.lively, codes_of(subject.lively)
    if is_waveform(codec):
        return [streamed(partial(wave_stream, codec), codes, codec.decode(codes))]
    frames = codec.decode(codes)
    return [streamed(codec.stream, frames, codec.expand(frames))]


@torch.no_grad()
def causal(subject: PartUnderTest) -> Sequence[Number]:
    codec, first = subject.lively, FIRST * subject.lively.frame
    given, codes = given_of(codec), codes_of(codec)
    louder, other = given.clone(), codes.clone()
    louder[:, first:] = 10 * given[:, first:].flip(1) + 0.1
    other[:, FIRST:] = codec.codebook_size - 1 - codes[:, FIRST:]
    short = given[:, : 2 * codec.frame]
    silence = torch.cat((short, torch.zeros_like(given)), dim=1)
    made = [codec.encode(louder)[:, :FIRST], codec.encode(silence)[:, :2], codec.decode(other)[:, :first]]
    wanted = [codec.encode(given)[:, :FIRST], codec.encode(short), codec.decode(codes)[:, :first]]
    where = ["codes before another sound", "codes before silence", "samples before other codes"]
    return [same([one], [two], [name]) for one, two, name in zip(made, wanted, where, strict=True)]


CHECKS = (
    Check(name="shapes", doc="codes (B,T,Q); windows and frames (B,T,F), log-mel (B,frame*T,F), or samples (B,frame*T)",
        run=shapes, depends_on=("builds",)),
    Check(name="range", doc="codes are from 0 to K - 1 for any input", run=in_range, depends_on=("shapes",)),
    Check(name="batch", doc="a batch gives the same output as its rows one by one", run=batch, depends_on=("repeats",)),
    Check(name="streams", doc="streaming output, joined, equals that of the whole sequence", run=streams,
        depends_on=("repeats",)),
    Check(name="causal", doc=f"what follows {FIRST} code frames changes neither their codes nor their samples, and "
        "silence after a sound none of its codes", run=causal, declares="waveform", depends_on=("repeats",)),
)  # fmt: skip
