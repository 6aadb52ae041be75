"""Codecs, vocoders and Talkers that are wrong in one way each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.api import Sampler, TextChunk, VoiceSettings
from muomni_rvq.model import RvqCodec
from muomni_talker.model import CursorTalker
from muomni_vocoders.griffin_lim import GriffinLim


class OutOfRange(RvqCodec):
    """Codes begin at 1."""

    def encode(self, frames: Tensor) -> Tensor:
        return super().encode(frames) * 0 + self.codebook_size


class Stuttering:
    """A stream whose pieces each begin anew."""

    def __init__(self, whole: Any, like: Tensor) -> None:
        self._whole, self._like = whole, like

    def push(self, piece: Tensor) -> Tensor:
        return self._whole(piece) if piece.shape[1] else self._like  # type: ignore[no-any-return]

    def finish(self) -> Tensor:
        return self._like


class StutteringCodec(RvqCodec):
    """See above."""

    def stream(self, batch: int = 1) -> Any:
        return Stuttering(self.expand, torch.zeros(batch, 0, self.mel.n_mels))


class StutteringVocoder(GriffinLim):
    """See above."""

    def forward(self, mel: Tensor) -> Tensor:
        stream = super().stream(mel.shape[0])
        return torch.cat((stream.push(mel), stream.finish()), dim=1)

    def stream(self, batch: int = 1) -> Any:
        return Stuttering(self, torch.zeros(batch, 0))


class OneTooMany(GriffinLim):
    """A sample more than there should be."""

    def forward(self, mel: Tensor) -> Tensor:
        return torch.nn.functional.pad(super().forward(mel), (0, 1))


class DependsOnCuts(CursorTalker):
    """Every piece is spoken as if it were all."""

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, choose: Sampler
    ) -> Iterator[NDArray[Any]]:
        yield from super().speak([], voice_settings, choose)
        for piece in text:
            yield from super().speak([piece], voice_settings, choose)


class SaysWhatItLikes(CursorTalker):
    """Never mind what is chosen."""

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, choose: Sampler
    ) -> Iterator[NDArray[Any]]:
        for codes in super().speak(text, voice_settings, choose):
            yield (codes + np.random.randint(2)) % self.codes.size


class HasEveryVoice(CursorTalker):
    """Whoever is named."""

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, choose: Sampler
    ) -> Iterator[NDArray[Any]]:
        known = voice_settings if voice_settings.voice in self.voices else VoiceSettings()
        return super().speak(text, known, choose)


class NeverListens(CursorTalker):
    """Says one thing."""

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, choose: Sampler
    ) -> Iterator[NDArray[Any]]:
        length = len("".join(piece.text for piece in text))
        return super().speak([TextChunk("a" * length)], voice_settings, choose)
