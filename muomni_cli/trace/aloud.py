"""A text on its way to a sound, recorded: how long it may get, codes, log-mel, samples. The specification's part 5.

The same modules as in ``muomni tts``, called one by one. Shapes: B batch (1), T code frames, Q codebooks, M mel frames,
F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Manner, Part, RequestError, Said, Step
from muomni_cli.evaluation.lexicon import words_of
from muomni_cli.speaking.bound import EACH, FEWEST, MOST, most_frames
from muomni_cli.trace.lines import Line
from muomni_cli.trace.open import Mouth
from muomni_cli.trace.recorder import Recorder
from muomni_cli.trace.run import declared
from muomni_cli.trace.words import pieces


def trace_speech(mouth: Mouth, text: str) -> list[Line]:
    """Everything that happens to a text that is spoken; a first time unrecorded, as in :func:`muomni_cli.trace.run`.

    Raises:
        RequestError: nothing of it can be spoken.
    """
    if not text.strip():
        raise RequestError("there is nothing to speak", 'give some text: muomni trace --speech "Hello."')
    _Speech(mouth).speak(text)
    speech = _Speech(mouth)
    speech.speak(text)
    return speech.recorder.lines


class _Speech:
    """One text on its way."""

    def __init__(self, mouth: Mouth) -> None:
        self.mouth = mouth
        self.device = mouth.parts.device
        self.recorder = Recorder(self.device)

    @torch.inference_mode()
    def speak(self, text: str) -> None:
        """See :func:`trace_speech`."""
        self._bound(text)
        codes = self._codes(text)
        self._sound(codes)

    def _bound(self, text: str) -> None:
        """How many tokens, and so how many frames at most."""
        self.recorder.begin("spoken text")
        tokenizer = self.mouth.tokenizer
        if tokenizer is None:
            words = self.recorder.measure(
                Step(at="", title="words", what="no tokenizer: words are counted"), words_of, text
            )
            count, unit = len(words), "word"
            self.recorder.note(outputs=((count,),), counts=f"{len(text):,} characters -> {_many(count, unit)}")
        else:
            ids = self.recorder.measure(Step(at="", title="tokenize", what="text to ids"), tokenizer.encode, text)
            count, unit = len(ids), "token"
            told = f"{len(text):,} characters -> {_many(count, unit)}: {pieces(tokenizer, ids)}"
            self.recorder.note(outputs=((count,),), counts=told, values={"ids": list(ids)})
        step = Step(at="", title="bound", what="the most frames that it may take; speech ends where the Talker says so")
        most = self.recorder.measure(step, most_frames, count)
        seconds = most * self._frame_samples / self.mouth.parts.codec.mel.sample_rate
        told = f"max({FEWEST}, min({MOST}, {EACH} x {count})) = {most} frames, {seconds:g} s"
        self.recorder.note(inputs=((count,),), counts=told, values={"max_frames": most})

    @property
    def _frame_samples(self) -> int:
        codec = self.mouth.parts.codec
        return codec.frame * codec.mel.hop

    def _codes(self, text: str) -> Tensor:
        """(1,T,Q) codes."""
        self.recorder.begin("talker")
        talker = self.mouth.parts.talker
        frames = talker.speak([Said(text)], Manner(), lambda logits: int(logits.argmax()))
        step = Step(at="", title="first frames", what="all of the following: as much text as is needed, and codes")
        with self._watching(talker, self.mouth.talker):
            first = self.recorder.measure(step, next, frames, None)
        if first is None:
            raise RequestError("nothing of this text can be spoken", "give a text with words")
        self.recorder.note(counts=f"{_many(len(first), 'frame')} of {_many(first.shape[1], 'code')}")
        step = Step(at="", title="other frames", what="the same for the rest, until the text is spoken")
        rest = self.recorder.measure(step, _joined, frames, first[:0])
        self.recorder.note(inputs=(), counts=_many(len(rest), "frame"))
        self.recorder.begin("codes")
        step = Step(at="", title="codes", what="one row of codes a frame, in the order of time")
        codes = self.recorder.measure(step, self._as_tensor, np.concatenate((first, rest)))
        _, count, books = codes.shape
        seconds = count * self._frame_samples / self.mouth.parts.codec.mel.sample_rate
        told = f"{_many(count, 'frame')} x {_many(books, 'codebook')} = {count * books:,} code indices, {seconds:g} s"
        self.recorder.note(counts=told, values={"frames": count})
        return codes

    def _sound(self, codes: Tensor) -> None:
        codec, vocoder = self.mouth.parts.codec, self.mouth.parts.vocoder
        self.recorder.begin("codec")
        with self._watching(codec, self.mouth.codec):
            step = Step(at="", title="decoder", what="all of the following")
            mel = self.recorder.measure(step, lambda given: codec.expand(codec.decode(given)), codes)
        self.recorder.note(counts=f"{_many(codes.shape[1], 'code frame')} -> {_many(mel.shape[1], 'mel frame')}")
        self.recorder.begin("vocoder")
        with self._watching(vocoder, self.mouth.vocoder):
            step = Step(at="", title="vocoder", what=self.mouth.vocoder.doc)
            wave = self.recorder.measure(step, vocoder, mel)
        rate = self.mouth.parts.codec.mel.sample_rate
        told = f"{_many(mel.shape[1], 'mel frame')} -> {_many(wave.shape[1], 'sample')}: {wave.shape[1] / rate:g} s"
        self.recorder.note(counts=f"{told} at {rate:,} Hz")

    def _as_tensor(self, codes: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(codes.astype(np.int64))[None].to(self.device)

    def _watching(self, module: object, part: Part) -> AbstractContextManager[None]:
        """Inside of it only what the part declares: what has no steps may call its layers hundreds of times."""
        assert isinstance(module, nn.Module), "a part is a module"
        return self.recorder.watching(module, declared(part, module)) if part.steps else nullcontext()


def _joined(frames: Iterator[NDArray[np.int64]], none: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is left of them, as one array."""
    return np.concatenate([none, *frames])


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
