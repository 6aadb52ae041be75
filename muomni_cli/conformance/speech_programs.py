"""Checks of speech programs. One that is not installed must say how to install it; then the others are skipped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muomni_cli.contract.checks import Check, CheckFailed, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import SpeechProgramPart
from muomni_cli.contract.speech import SpeechProgram
from muomni_cli.core.errors import RequestError

TEXT = "Good morning to you."
SECONDS = (0.3, 20.0)  # that it may last
SLOWER = 1.4
MOST = 3  # voices that are heard


def builds(subject: PartUnderTest) -> Sequence[Number]:
    _program(subject)
    return []


def _program(subject: PartUnderTest) -> SpeechProgram:
    program: SpeechProgram = subject.once("program", lambda: subject.find("build")(subject.config))
    return program


def _voices(subject: PartUnderTest) -> list[str]:
    """A few of its voices. CheckSkipped: the program is not installed."""
    assert isinstance(subject.part, SpeechProgramPart)
    program, voices = _program(subject), list(subject.part.voices[:MOST])
    if program.file is None:
        try:
            program.require(voices)
        except RequestError as error:
            raise CheckSkipped(error.what) from error
        raise CheckFailed("its file is missing, but require(voices) does not raise RequestError")
    try:
        program.require(voices)
    except RequestError as error:
        raise CheckSkipped(error.what) from error
    return voices


def speaks(subject: PartUnderTest) -> Sequence[Number]:
    program, voices = _program(subject), _voices(subject)
    for voice in voices:
        samples, rate = program.say(TEXT, voice, 1.0, 1.0)
        check_that(samples.ndim == 1 and samples.dtype == np.float32, f"{voice}: it gives no (N,) float32 samples")
        seconds = samples.size / rate
        check_that(SECONDS[0] < seconds < SECONDS[1], f"{voice}: {TEXT!r} lasts {seconds:.2f} s")
        check_that(1e-3 < float(np.abs(samples).max()) <= 1.0, f"{voice}: it is silent, or beyond full scale")
    return [Number("voices", len(voices))]


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    program, voices = _program(subject), _voices(subject)
    for voice in voices:
        first, second = (program.say(TEXT, voice, 1.0, 1.0)[0] for _ in range(2))
        check_that(np.array_equal(first, second), f"{voice}: the same text gives other samples")
    return []


def slower(subject: PartUnderTest) -> Sequence[Number]:
    program, voices = _program(subject), _voices(subject)
    samples, rate = program.say(TEXT, voices[0], 1.0, 1.0)
    longer, longer_rate = program.say(TEXT, voices[0], SLOWER, 1.0)
    ratio = longer.size / longer_rate / (samples.size / rate)
    check_that(ratio > 1 + (SLOWER - 1) / 2, f"with stretch {SLOWER} it speaks {ratio:.2f} times as long")
    return [Number("times as long", ratio)]


CHECKS = (
    Check(name="builds", doc="it can be built from its test config", run=builds, depends_on=("references",)),
    Check(name="speaks", doc="every voice speaks a sentence, (N,) float32 within full scale", run=speaks,
        depends_on=("builds",)),
    Check(name="repeats", doc="the same text gives the same samples", run=repeats, depends_on=("speaks",)),
    Check(name="slower", doc="a larger stretch makes longer speech", run=slower, depends_on=("speaks",)),
)  # fmt: skip
