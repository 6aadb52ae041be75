"""A Talker, a codec and two vocoders small enough to speak in milliseconds, offered as a stranger's plugin would be.

Two frames a letter at speed 1; all states matter, so that anything lost between two pieces would be heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import (
    CodecPart,
    CodeShape,
    MelConfig,
    PartConfig,
    RequestError,
    Sampler,
    TalkerPart,
    TextChunk,
    VocoderPart,
    VoiceSettings,
    hookimpl,
)
from muomni_cli.nn.streaming import CausalConv, CausalStack


class CodecConfig(PartConfig):
    codebooks: int = 2
    size: int = 16


class Plain(PartConfig):
    width: int = 3


class Codec(nn.Module):
    frame = 8
    mel = MelConfig(sample_rate=8000, n_fft=256, window=160, hop=80, n_mels=6)

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config, self.codebooks, self.codebook_size = config, config.codebooks, config.size
        self.tables = nn.Parameter(torch.randn(config.codebooks, config.size, self.mel.n_mels))
        bins = self.mel.n_mels
        self.net = CausalStack([CausalConv(bins, 3), nn.Tanh(), nn.Linear(bins, bins * self.frame)], bins, lookahead=1)

    def windows(self, mel: Tensor) -> Tensor:
        return mel.unflatten(1, (-1, self.frame)).mean(2)

    def encode(self, frames: Tensor) -> Tensor:
        return (frames[..., None, None, :] - self.tables).square().sum(-1).argmin(-1)

    def decode(self, codes: Tensor) -> Tensor:
        return sum((self.tables[q][codes[..., q]] for q in range(self.codebooks)), start=torch.zeros(()))

    def expand(self, frames: Tensor) -> Tensor:
        return self.net.whole(frames).reshape(len(frames), -1, self.mel.n_mels)

    def stream(self, batch: int = 1) -> Folded:
        return Folded(self.net.stream(batch), self.mel.n_mels)


class Folded:
    """A stream whose wide frames are cut into narrow ones; of ``width`` 0 into single samples."""

    def __init__(self, inner: Any, width: int) -> None:
        self.inner, self.width = inner, width

    def _fold(self, made: Tensor) -> Tensor:
        return made.flatten(1) if self.width == 0 else made.reshape(len(made), -1, self.width)

    def push(self, piece: Tensor) -> Tensor:
        return self._fold(self.inner.push(piece))

    def finish(self) -> Tensor:
        return self._fold(self.inner.finish())


class Vocoder(nn.Module):
    def __init__(self, config: Plain, mel: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.net = CausalStack(
            [CausalConv(mel.n_mels, config.width), nn.Linear(mel.n_mels, mel.hop), nn.Tanh()], mel.n_mels, lookahead=2
        )

    def forward(self, mel: Tensor) -> Tensor:
        return self.net.whole(mel).flatten(1)

    def stream(self, batch: int = 1) -> Folded:
        return Folded(self.net.stream(batch), 0)


class Talker(nn.Module):
    def __init__(self, config: Plain, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> None:
        super().__init__()
        self.config, self.shape, self.voices = config, codes, list(voices)
        self.letters = nn.Parameter(3 * torch.randn(128, codes.codebooks, codes.size))
        self.before = nn.Parameter(torch.randn(codes.size, codes.size))
        self.voice = nn.Parameter(3 * torch.randn(max(1, len(voices)), codes.size))
        self.hear = nn.Linear(thinker_width, codes.size, bias=False) if thinker_width else None

    def forward(self, codes: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.before[codes[..., q]] for q in range(self.shape.codebooks))

    def speak(
        self, text: Iterable[TextChunk], voice_settings: VoiceSettings, choose: Sampler
    ) -> Iterator[NDArray[Any]]:
        if voice_settings.voice is not None and voice_settings.voice not in self.voices:
            raise RequestError(f"there is no voice {voice_settings.voice!r}", "name another")
        voice = self.voices.index(voice_settings.voice) if voice_settings.voice else 0
        code, owed = 0, 0.0
        for said in text:
            heard = self.hear(torch.from_numpy(said.hidden)) if self.hear and said.hidden is not None else 0
            for letter in said.text.lower():
                if not ("a" <= letter <= "z" or letter == " "):
                    continue
                owed += 2 / voice_settings.speed
                while owed >= 1:
                    owed -= 1
                    row = []
                    for logits in self.letters[ord(letter)] + self.before[code] + self.voice[voice] + heard:
                        code = choose(logits.detach().numpy())
                        row.append(code)
                    yield np.array([row], dtype=np.int64)


def build_codec(config: CodecConfig) -> Codec:
    return Codec(config)


def build_vocoder(config: Plain, mel: MelConfig) -> Vocoder:
    return Vocoder(config, mel)


def build_ready(config: Plain, mel: MelConfig) -> Vocoder:
    """Always the same weights: it needs no training."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Vocoder(config, mel)


def build_talker(config: Plain, codes: CodeShape, voices: Sequence[str], thinker_width: int) -> Talker:
    return Talker(config, codes, voices, thinker_width)


@hookimpl
def register_codecs() -> list[CodecPart]:
    return [CodecPart(name="tinycodec", doc="x", config=CodecConfig, build="tiny_speech:build_codec", read="none:none")]


@hookimpl
def register_talkers() -> list[TalkerPart]:
    return [TalkerPart(name="tinytalker", doc="x", config=Plain, build="tiny_speech:build_talker")]


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    return [
        VocoderPart(name="ready", doc="x", config=Plain, build="tiny_speech:build_ready"),
        VocoderPart(name="learned", doc="x", config=Plain, build="tiny_speech:build_vocoder", objective="none:none"),
    ]
