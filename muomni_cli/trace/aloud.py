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

from muomni_cli.contract.declarations import Part
from muomni_cli.contract.speech import Manner, Said
from muomni_cli.contract.tracing import Step
from muomni_cli.core.errors import RequestError
from muomni_cli.trace.lines import Line
from muomni_cli.trace.open import Mouth
from muomni_cli.trace.recorder import Recorder
from muomni_cli.trace.run import declared
from muomni_cli.trace.tellers import many, tell_bound, tell_codes


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
        tell_bound(self.recorder, self.mouth.tokenizer, text, self._seconds)
        codes = self._codes(text)
        self._sound(codes)

    @property
    def _seconds(self) -> float:
        """Of a code frame."""
        codec = self.mouth.parts.codec
        return codec.frame * codec.mel.hop / codec.mel.sample_rate

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
        self.recorder.note(counts=f"{many(len(first), 'frame')} of {many(first.shape[1], 'code')}")
        step = Step(at="", title="other frames", what="the same for the rest, until the text is spoken")
        rest = self.recorder.measure(step, _joined, frames, first[:0])
        self.recorder.note(inputs=(), counts=many(len(rest), "frame"))
        self.recorder.begin("codes")
        step = Step(at="", title="codes", what="one row of codes a frame, in the order of time")
        codes = self.recorder.measure(step, self._as_tensor, np.concatenate((first, rest)))
        _, count, books = codes.shape
        tell_codes(self.recorder, count, books, self._seconds)
        return codes

    def _sound(self, codes: Tensor) -> None:
        codec, vocoder = self.mouth.parts.codec, self.mouth.parts.vocoder
        self.recorder.begin("codec")
        with self._watching(codec, self.mouth.codec):
            step = Step(at="", title="decoder", what="all of the following")
            mel = self.recorder.measure(step, lambda given: codec.expand(codec.decode(given)), codes)
        self.recorder.note(counts=f"{many(codes.shape[1], 'code frame')} -> {many(mel.shape[1], 'mel frame')}")
        self.recorder.begin("vocoder")
        with self._watching(vocoder, self.mouth.vocoder):
            step = Step(at="", title="vocoder", what=self.mouth.vocoder.doc)
            wave = self.recorder.measure(step, vocoder, mel)
        rate = self.mouth.parts.codec.mel.sample_rate
        told = f"{many(mel.shape[1], 'mel frame')} -> {many(wave.shape[1], 'sample')}: {wave.shape[1] / rate:g} s"
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
