"""Conformance checks of Talkers (:class:`muomni_cli.api.Talker`). Imports torch.

Shapes: B batch, T code frames, Q codebooks, K codes, D width of a Thinker's hidden states.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.conformance.common import CODES, SEED, VOICES, refusal
from muomni_cli.conformance.modules import require_shape
from muomni_cli.contract.checks import Check, Number, PartUnderTest, check_that
from muomni_cli.contract.speech import Sampler, TextChunk, VoiceSettings

TEXT = "Two hens, one egg. Is it 7 now? No."  # sentences, punctuation, a number
MOST = 400  # maximum chunks of codes, for Talkers that do not stop
WIDTH = 6  # width of the Thinker's hidden states


def chance(seed: int = SEED) -> Sampler:
    """Samples codes from its own random numbers; each call gives the same sequence."""
    random = np.random.default_rng(seed)

    def sampler(logits: NDArray[Any]) -> int:
        check_that(
            logits.shape == (CODES.size,), f"the sampler gets logits of shape {logits.shape}, not ({CODES.size},)"
        )
        likely = np.exp(logits.astype(np.float64) - logits.max())
        return int(random.choice(len(likely), p=likely / likely.sum()))

    return sampler


def greedy(logits: NDArray[Any]) -> int:
    return int(logits.argmax())


def spoken(
    talker: Any, pieces: Iterable[TextChunk], sampler: Sampler, voice_settings: VoiceSettings | None = None
) -> NDArray[Any]:
    """(T,Q) codes of the speech, of at most :data:`MOST` chunks."""
    made = list(islice(talker.speak(pieces, voice_settings or VoiceSettings(), sampler), MOST))
    check_that(bool(made), f"no speech for {TEXT!r}")
    for piece in made:
        check_that(
            piece.ndim == 2 and piece.shape[1] == CODES.codebooks and piece.dtype == np.int64,
            f"codes are {piece.shape} of {piece.dtype}, not (n, {CODES.codebooks}) of int64",
        )
    return np.concatenate(made)


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:  # noqa: ARG001 - same signature for every kind
    return [*module(before()), torch.from_numpy(spoken(module, [TextChunk(TEXT)], greedy))]


def before() -> Tensor:
    """(B,T,Q) random codes."""
    random = torch.Generator().manual_seed(SEED)
    return torch.randint(0, CODES.size, (2, 5, CODES.codebooks), generator=random)


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    logits = subject.lively(before())
    check_that(len(logits) == CODES.codebooks, f"there are logits for {len(logits)} codebooks, not {CODES.codebooks}")
    for number, one in enumerate(logits):
        require_shape(one, (2, 5, CODES.size), f"logits of codebook {number}")
    check_that(tuple(subject.lively.voices) == VOICES, f"built with voices {VOICES}, it has {subject.lively.voices}")
    return []


def speaks(subject: PartUnderTest) -> Sequence[Number]:
    numbers = []
    for voice in VOICES:
        codes = spoken(subject.lively, [TextChunk(TEXT)], chance(), VoiceSettings(voice))
        check_that(int(codes.min()) >= 0, f"the code {int(codes.min())} is below 0")
        numbers.append(
            Number("largest code", int(codes.max()), CODES.size - 1, f"of {len(codes)} frames, voice {voice}")
        )
    return numbers


def reads(subject: PartUnderTest) -> Sequence[Number]:
    one, other = (spoken(subject.lively, [TextChunk(text)], greedy) for text in (TEXT, TEXT[::-1]))
    check_that(one.shape != other.shape or bool((one != other).any()), "the codes do not depend on the text")
    return []


def repeats(subject: PartUnderTest) -> Sequence[Number]:
    first = spoken(subject.lively, [TextChunk(TEXT)], chance())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED + 1)
        again = spoken(subject.lively, [TextChunk(TEXT)], chance())
    return [differing(again, first, "the second time")]


def cuts(subject: PartUnderTest) -> Sequence[Number]:
    """Words, single characters, and uneven chunks with empty ones in between."""
    whole = spoken(subject.lively, [TextChunk(TEXT)], chance())
    words = [word + " " for word in TEXT.split(" ")]
    words[-1] = words[-1].rstrip()
    uneven = [TEXT[:3], "", TEXT[3:4], TEXT[4:17], "", TEXT[17:]]
    ways = {"words": words, "characters": list(TEXT), "uneven pieces": uneven}
    return [
        differing(spoken(subject.lively, map(TextChunk, pieces), chance()), whole, f"in {way}")
        for way, pieces in ways.items()
    ]


def hears(subject: PartUnderTest) -> Sequence[Number]:
    """With the Thinker's hidden states at every word, and without any."""
    talker = subject.lively_with(thinker_width=WIDTH)
    random = np.random.default_rng(SEED)
    words = [TextChunk(f"{word} ", random.standard_normal(WIDTH, dtype=np.float32)) for word in TEXT.split(" ")]
    heard, alone = spoken(talker, words, greedy), spoken(talker, [TextChunk(TEXT)], greedy)
    largest = max(int(heard.max()), int(alone.max()))
    return [Number("largest code", largest, CODES.size - 1, f"of {len(heard)} and {len(alone)} frames")]


def refuses(subject: PartUnderTest) -> Sequence[Number]:
    voice = VoiceSettings("an unknown voice")
    refusal("an unknown voice", lambda: next(iter(subject.lively.speak([TextChunk(TEXT)], voice, greedy)), None))
    return []


def differing(made: NDArray[Any], wanted: NDArray[Any], where: str) -> Number:
    """Number of codes that differ, one more for each missing or extra frame."""
    shared = min(len(made), len(wanted))
    count = int((made[:shared] != wanted[:shared]).sum()) + abs(len(made) - len(wanted))
    return Number("differing codes", count, 0, f"{where}, of {wanted.size}")


CHECKS = (
    Check(name="shapes", doc="codes (B,T,Q) without text give Q logits of (B,T,K)", run=shapes, depends_on=("builds",)),
    Check(name="speaks", doc="text gives frames (n,Q) of codes from 0 to K - 1, in every voice", run=speaks,
        depends_on=("shapes",)),
    Check(name="reads", doc="the codes depend on the text", run=reads, depends_on=("speaks", "repeats")),
    Check(name="choice", doc="the same sampler gives the same codes", run=repeats, depends_on=("speaks", "repeats")),
    Check(name="cuts", doc="output does not depend on how the text is split into chunks", run=cuts,
        depends_on=("speaks", "choice")),
    Check(name="hears", doc="built for a Thinker, it speaks with and without the Thinker's hidden states", run=hears,
        depends_on=("speaks",)),
    Check(name="refuses", doc="an unknown voice raises RequestError", run=refuses, depends_on=("speaks",)),
)  # fmt: skip
