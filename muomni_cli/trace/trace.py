"""Trace a question and its spoken answer: the same calls as in ``muomni chat`` and ``muomni tts``, one by one, on any
engine. An observer records what happens inside the parts.

Shapes: T tokens or code frames, D width of the Thinker, V vocabulary, Q codebooks, M mel frames, F mel bins, N samples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.codecs import is_waveform, sample_rate_of, samples_per_frame
from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.declarations import Step
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import in_order
from muomni_cli.data.prompt import end_ids, one_shot_ids
from muomni_cli.generation.loop import LoopGuard
from muomni_cli.inference.chat_model import chat_model
from muomni_cli.inference.media_input import MediaEmbeddings
from muomni_cli.inference.settings import settings_of
from muomni_cli.registry.registry import get_registry
from muomni_cli.structured_output.mask import FormState
from muomni_cli.trace.observer import Observer, observing
from muomni_cli.trace.recorder import TensorRecorder, TraceStep
from muomni_cli.trace.report import layout, likeliest, plural, quoted, spelled
from muomni_cli.voice.synthesis import voice_of


@dataclass(slots=True)
class QuestionTrace:
    """The trace of a question."""

    steps: list[TraceStep] = field(default_factory=list)  # in order
    # each image, audio or other input, and the array that its encoder takes
    inputs: list[tuple[Media, NDArray[Any]]] = field(default_factory=list)
    # segments of the sequence (``image``, ``text`` ...) and their token counts
    layout: list[tuple[str, int]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)  # each position of the sequence: ``image``, ``' the' (262)``
    # each layer's weights (H,T,T) for the prompt, if requested and PyTorch runs the model
    attention: list[NDArray[np.float32]] = field(default_factory=list)


@dataclass(slots=True)
class SpeechTrace:
    """The trace of a text that was spoken."""

    steps: list[TraceStep]  # in order
    codes: NDArray[Any]  # (T,Q)
    mel: NDArray[Any]  # (M,F) log-mel
    wave: NDArray[Any]  # (N,) samples, full scale 1
    sample_rate: int  # in Hz


def trace_question(
    engine: Engine,
    text: str,
    media: Sequence[Media],
    max_tokens: int,
    notice: Callable[[str], None],
    *,
    loop_guard: bool | None = None,
    attention: bool = False,
) -> QuestionTrace:
    """Run a question and at most ``max_tokens`` tokens of the answer, twice: times are those of the second run.

    Args:
        engine: an open model.
        text: of the question.
        media: its images, audio and other inputs.
        max_tokens: of the answer.
        notice: called when an input is truncated.
        loop_guard: stop the answer before it repeats itself; None for the recipe's setting.
        attention: keep attention weights, from the first run.

    Raises:
        RequestError: the question is empty, an input cannot be used, or it does not fit the context.
    """
    if not text.strip() and not media:
        raise RequestError("there is nothing to trace", 'give some text or a file: muomni trace "Hello, how are you?"')
    with observing(engine, attention=attention) as observer:
        _Question(engine, observer, lambda _: None, loop_guard).ask(text, media, 1)
        weights = observer.attention
    with observing(engine) as observer:
        trace = _Question(engine, observer, notice, loop_guard).ask(text, media, max_tokens)
    trace.attention = weights
    return trace


class _Question:
    def __init__(
        self, engine: Engine, observer: Observer, notice: Callable[[str], None], loop_guard: bool | None
    ) -> None:
        self.observer, self.recorder = observer, observer.recorder
        self.model = chat_model(engine, notice)
        self.backend, self.tokenizer = self.model.backend, self.model.tokenizer
        self.settings = settings_of(engine, {"loop_guard": loop_guard})
        self.trace = QuestionTrace()
        self.state: Any = None
        self.form: FormState | None = None
        self.left = 0  # tokens that the answer may still have; counted for a form

    def ask(self, text: str, media: Sequence[Media], max_tokens: int) -> QuestionTrace:
        ids = self._lay_out(text, self._encode(media))
        if self.settings.form is not None:
            self.left = min(self.settings.max_tokens, self.model.context + 1 - len(ids))
            self.form = FormState(self.settings.form, self.tokenizer, self.left)
        token = self._choose(self._prefill(ids, max_tokens))
        answer = self._generate(token, len(ids), max_tokens)
        self.recorder.begin("text again")
        known = [token for token in answer if token < self.tokenizer.vocab_size]
        step = _step("decode", "ids to text, without special tokens")
        words = self.recorder.measure(step, self.tokenizer.decode, known)
        unknown = len(answer) - len(known)
        left = f" ({plural(unknown, 'id')} unknown to the tokenizer)" if unknown else ""
        self.recorder.note(
            inputs=((len(answer),),),
            counts=f"{plural(len(answer), 'id')} -> {plural(len(words), 'character')}{left}: {words!r}",
            values={"ids": list(answer), "text": words},
        )
        self.trace.steps = self.recorder.steps
        return self.trace

    def _encode(self, media: Sequence[Media]) -> MediaEmbeddings:
        """Embeddings (T,D) of each input, in the order in which they precede the text."""
        encoders, recorder = self.model.encoders, self.recorder
        for one in in_order(media, self.model.modalities):
            recorder.begin(f"{one.modality}: {one.name}")
            step = _step("read", f"the file as {one.modality} for the encoder")
            array = recorder.measure(step, encoders.read, one)
            recorder.note(counts=f"{array.size:,} numbers")
            self.trace.inputs.append((one, array))
        taken = []
        for (one, array), kept in zip(self.trace.inputs, encoders.allot(self.trace.inputs), strict=True):
            recorder.begin(f"{one.modality}: {one.name}")
            step = _step("encoder", "the steps below, and the projector")
            rows = self.observer.inside(one.modality, step, encoders.encode, one, array, kept)
            recorder.note(inputs=(array.shape,), counts=f"1 {one.modality} -> {plural(len(rows), 'token')}")
            taken.append((one, rows))
        return taken

    def _lay_out(self, text: str, taken: MediaEmbeddings) -> list[int]:
        """The ids of the sequence; ids below 0 stand for media."""
        self.recorder.begin("text")
        media_ids = [self.backend.add_embeddings(rows) for _, rows in taken]
        coming = iter(media_ids)
        message = Message("user", text, tuple(one for one, _ in taken))
        how = self.model.context, self.settings.template, self.settings.system
        step = _step("tokenize", "text to ids, with the special tokens of the template")
        ids = self.recorder.measure(step, one_shot_ids, self.tokenizer, message, *how, media_ids=lambda _: next(coming))
        words = [token for token in ids if token >= 0]
        self.recorder.note(
            outputs=((len(words),),),
            counts=f"{plural(len(text), 'character')} -> {plural(len(words), 'id')}: {spelled(self.tokenizer, words)}",
            values={"ids": words},
        )
        places = {token: -1 - number for number, token in enumerate(token for row in media_ids for token in row)}
        self._fuse([places.get(token, token) for token in ids], words, taken)
        return ids

    def _fuse(self, ids: Sequence[int], words: Sequence[int], taken: MediaEmbeddings) -> None:
        """Record the layout of the sequence. ``ids``: -1, -2, ... are the rows of ``taken``, in order."""
        self.trace.layout = parts = layout(ids, [(one.modality, len(rows)) for one, rows in taken])
        names = [name for name, count in parts for _ in range(count)]
        self.trace.tokens = [
            quoted(self.tokenizer, token) if token >= 0 else name for name, token in zip(names, ids, strict=True)
        ]
        if not taken:
            return
        embedded = self.observer.embed(words)
        self.recorder.begin("sequence")
        rows = np.concatenate([rows for _, rows in taken])
        step = _step("fusion", "one sequence along time, in the order of the template")
        self.recorder.measure(step, fuse, ids, rows, embedded)
        width, total = rows.shape[1], " + ".join(str(count) for _, count in parts)
        self.recorder.note(
            inputs=tuple((1, count, width) for _, count in parts),
            outputs=((1, len(ids), width),),
            counts=f"{' '.join(f'[{name}]' for name, _ in parts)}: {total} = {len(ids)} tokens",
            values={"parts": [{"name": name, "tokens": count} for name, count in parts]},
        )

    def _prefill(self, ids: Sequence[int], max_tokens: int) -> NDArray[np.float32]:
        """(V,) logits after the prompt."""

        def begin() -> NDArray[np.float32]:
            self.state, logits = self.backend.begin([ids], min(len(ids) + max_tokens, self.model.context))
            return logits

        self.recorder.begin("thinker")
        every = self.observer.every_place
        rest = "the steps below" if every else "only the logits after the last token are kept"
        step = _step("thinker", f"the whole sequence at once: {rest}")
        logits = self.observer.think(step, begin)
        sets = plural(len(ids) if every else 1, "set") + " of logits"
        held = f"; the cache holds {len(ids)}" if every and self.observer.cached else ""
        self.recorder.note(counts=f"{plural(len(ids), 'token')} -> {sets}{held}")
        if not every:
            self.recorder.note(inputs=((1, len(ids)),))
        first: NDArray[np.float32] = logits[0]
        return first

    def _choose(self, logits: NDArray[np.float32]) -> int:
        self.recorder.begin("next token")
        self.observer.last_logits()
        step = _step("probabilities", "softmax of the logits: how likely each next token is")
        probabilities = self.recorder.measure(step, softmax, logits)
        best = likeliest(self.tokenizer, probabilities)
        counts = ", ".join(f"{one['piece']} {one['probability']:.2%}" for one in best)
        self.recorder.note(counts=counts, values={"likeliest": best})
        allowed = "" if self.form is None else " of those that the form allows"
        step = _step("choice", f"the most likely token{allowed} (argmax)")
        token = self.recorder.measure(step, self._likeliest, logits)
        self.recorder.note(counts=f"1 new token: {quoted(self.tokenizer, token)}", values={"token": token})
        return token

    def _likeliest(self, logits: NDArray[np.float32]) -> int:
        """The most likely token, with a form of those that can come next."""
        if self.form is None:
            return _argmax(logits)
        token, _ = self.form.next(lambda ids: int(ids[logits[ids].argmax()]), self.left)
        self.left -= 1
        return token

    def _generate(self, token: int, held: int, max_tokens: int) -> list[int]:
        """The answer from its first token on, until the model ends it, repeats itself or fills the context."""
        self.recorder.begin("generation")
        cached = self.observer.cached
        form, guard = self.form, self.settings.loop_guard and self.form is None
        answer = AnswerTokens(self.tokenizer, max_tokens, loop_guard=guard)
        answer.add(token)
        while not answer.over and held < self.model.context and not (form is not None and form.finished):
            what = "the new token; earlier ones are in the cache" if cached else "the whole sequence again: no cache"
            step = _step(f"token {len(answer.tokens) + 1}", what)
            logits = self.observer.think(step, self.backend.step, self.state, np.array([token], np.int64))
            token, held = self._likeliest(logits[0]), held + 1
            cache = f"cache {held - 1} -> {held} tokens; " if cached else ""
            values = {"token": token} | ({"cache": held} if cached else {})
            self.recorder.note(counts=f"{cache}then comes {quoted(self.tokenizer, token)}", values=values)
            if cached:
                self.recorder.note(inputs=((1, 1),))
            answer.add(token)
        return answer.kept(self.recorder)


class AnswerTokens:
    """The tokens of an answer, which ends with ``eos``, after ``most`` tokens, or with ``loop_guard`` before it repeats
    itself, as in chat."""

    def __init__(self, tokenizer: Tokenizer, most: int, *, loop_guard: bool) -> None:
        self._ends, self._most = end_ids(tokenizer), most
        known = tokenizer.vocab_size  # the Thinker may have more ids
        self._guard = LoopGuard(lambda token: tokenizer.token_bytes(token) if token < known else b"")
        self._guarded = loop_guard
        self.tokens: list[int] = []
        self.over = False

    def add(self, token: int) -> None:
        self.tokens.append(token)
        looped = self._guard.cut is not None
        if token not in self._ends and not looped:
            self._guard.push(token)
        self.over = token in self._ends or (looped and self._guarded) or len(self.tokens) >= self._most

    def kept(self, recorder: TensorRecorder) -> list[int]:
        """The tokens without the loop; removing it is recorded as a step."""
        cut = self._guard.cut
        if not self._guarded or cut is None or self.tokens[-1] in self._ends:
            return self.tokens
        what = "the answer repeats itself, so it ends before the repetition; --no-loop-guard disables this"
        kept = recorder.measure(_step("loop guard", what), lambda: self.tokens[:cut])
        recorder.note(counts=f"{plural(len(self.tokens), 'token')} -> {cut}")
        return kept


def trace_speech(engine: Engine, text: str) -> SpeechTrace:
    """Speak a text, after an unrecorded first run as in :func:`trace_question`.

    Raises:
        RequestError: the model does not speak, or nothing of the text can be spoken.
    """
    if not text.strip():
        raise RequestError("there is nothing to speak", 'give some text: muomni trace --speech "Hello."')
    voice_of(engine)  # reports what is missing
    with observing(engine) as observer:
        _SpeechTracer(engine, observer).speak(text)
    with observing(engine) as observer:
        return _SpeechTracer(engine, observer).speak(text)


class _SpeechTracer:
    def __init__(self, engine: Engine, observer: Observer) -> None:
        self.engine, self.observer, self.recorder = engine, observer, observer.recorder
        codec = engine.codec()
        self.rate, self.alone = sample_rate_of(codec), is_waveform(codec)
        self.seconds = samples_per_frame(codec) / self.rate  # per code frame

    def speak(self, text: str) -> SpeechTrace:
        observer, recorder = self.observer, self.recorder
        self._count(text)
        codes = self._codes(text)
        recorder.begin("codec")
        if self.alone:
            wave = observer.inside("codec", _step("decoder", "codes to samples"), observer.decode, codes)
            recorder.note(counts=f"{plural(codes.shape[-2], 'code frame')} -> {self._samples(wave)}")
            return SpeechTrace(recorder.steps, _plain(codes), np.zeros((0, 0), np.float32), _plain(wave), self.rate)
        mel = observer.inside("codec", _step("decoder", "codes to log-mel"), observer.decode, codes)
        frames = plural(mel.shape[-2], "mel frame")
        recorder.note(counts=f"{plural(codes.shape[-2], 'code frame')} -> {frames}")
        recorder.begin("vocoder")
        doc = get_registry().get("vocoder", self.engine.vocoder_name()).part.doc
        wave = observer.inside("vocoder", _step("vocoder", doc), observer.vocode, mel)
        recorder.note(counts=f"{frames} -> {self._samples(wave)}")
        return SpeechTrace(recorder.steps, _plain(codes), _plain(mel), _plain(wave), self.rate)

    def _samples(self, wave: Any) -> str:
        count = wave.shape[-1]
        return f"{plural(count, 'sample')}: {count / self.rate:g} s at {self.rate:,} Hz"

    def _count(self, text: str) -> None:
        """Record the number of tokens, or of words without a tokenizer."""
        self.recorder.begin("spoken text")
        characters = plural(len(text), "character")
        if "thinker" in self.engine.parts:
            tokenizer = self.engine.tokenizer()
            ids = self.recorder.measure(_step("tokenize", "text to ids"), tokenizer.encode, text)
            count, counts = len(ids), f"{characters} -> {plural(len(ids), 'token')}: {spelled(tokenizer, ids)}"
            self.recorder.note(outputs=((count,),), counts=counts, values={"ids": list(ids)})
        else:
            words = self.recorder.measure(_step("words", "counts words, because there is no tokenizer"), text.split)
            count = len(words)
            self.recorder.note(outputs=((count,),), counts=f"{characters} -> {plural(count, 'word')}")

    def _codes(self, text: str) -> Any:
        """(T,Q) codes as the codec takes them."""
        observer, recorder = self.observer, self.recorder
        recorder.begin("talker")
        settings = VoiceSettings()
        frames = self.engine.talker().speak([TextChunk(text)], settings, _argmax)
        step = _step("first frames", "the steps below: reads as much text as needed, and predicts codes")
        first = observer.inside("talker", step, next, frames, None)
        if first is None:
            raise RequestError("nothing of this text can be spoken", "give a text with words")
        recorder.note(counts=f"{plural(len(first), 'frame')} of {plural(first.shape[1], 'code')}")
        measure = recorder.measure if observer.every_place else observer.think  # only graphs are observed here
        step = _step("other frames", "the same for the rest of the text")
        rest = measure(step, lambda: np.concatenate([first[:0], *frames]))
        recorder.note(counts=plural(len(rest), "frame"))
        self._limits(settings.report.limits)
        recorder.begin("codes")
        step = _step("codes", "one row of codes per frame, in order of time")
        codes = recorder.measure(step, observer.codes, np.concatenate((first, rest)))
        count, books = codes.shape[-2:]
        size = f"{plural(count, 'frame')} x {plural(books, 'codebook')} = {count * books:,} code indices"
        recorder.note(counts=f"{size}, {count * self.seconds:g} s", values={"frames": count})
        return codes

    def _limits(self, limits: Sequence[int]) -> None:
        """Record the limits on the code frames of the sentences, which the Talker knows when it has read them."""
        if not limits:  # it tells none
            return
        step = _step("bound", "maximum frames of each sentence; it usually ends earlier, where the Talker predicts it")
        most = self.recorder.measure(step, sum, limits)
        summed = f"{' + '.join(map(str, limits))} = {most}" if len(limits) > 1 else str(most)
        self.recorder.note(counts=f"{summed} frames, {most * self.seconds:g} s", values={"max_frames": most})


def _step(title: str, what: str) -> Step:
    return Step(at="", title=title, what=what)


def _argmax(logits: NDArray[Any]) -> int:
    return int(logits.argmax())


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """(V,) logits -> (V,) probabilities."""
    weights = np.exp(logits.astype(np.float64) - logits.max())
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def fuse(
    ids: Sequence[int], media: NDArray[np.float32], embedded: NDArray[np.float32] | None
) -> NDArray[np.float32] | None:
    """(T,D): for each id below 0 the next row of ``media`` (n,D), for the others the next row of ``embedded`` (T-n,D);
    None without ``embedded``."""
    if embedded is None:
        return None
    below = np.array(ids) < 0
    fused = np.empty((len(ids), media.shape[1]), np.float32)
    fused[below], fused[~below] = media, embedded
    return fused


def _plain(array: Any) -> NDArray[Any]:
    """An array itself; the first row of a tensor."""
    if isinstance(array, np.ndarray):
        return array
    row: NDArray[Any] = array[0].cpu().numpy()
    return row
