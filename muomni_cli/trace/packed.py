"""One question through a model that runs without PyTorch, recorded: each graph that is run for it, with what goes in
and what comes out. The same functions as in chat and ``muomni tts``, called one by one.

Shapes: T tokens or code frames, D width, V vocabulary, Q codebooks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Message
from muomni_cli.contract.engine import Engine
from muomni_cli.contract.media import Media
from muomni_cli.contract.speech import Flow, Manner, RunCodec, Said
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import one_shot_ids
from muomni_cli.data.shares import in_order
from muomni_cli.models.engines import senses_of
from muomni_cli.omni.senses import Senses, Taken
from muomni_cli.recipe.settings import ChatSettings
from muomni_cli.speaking.voice import voice_of
from muomni_cli.trace.answering import Answering
from muomni_cli.trace.graph_calls import GraphCalls
from muomni_cli.trace.lines import Line
from muomni_cli.trace.tellers import many, runs, spell_out, tell_bound, tell_codes, tell_likeliest
from muomni_cli.trace.words import pieces, quoted


def trace_packed(
    packed: Engine,
    text: str,
    media: Sequence[Media],
    tokens: int,
    notice: Callable[[str], None],
    *,
    loop_guard: bool | None = None,
) -> list[Line]:
    """Everything that is run for a question, and at most ``tokens`` tokens of the answer, which ends before it repeats
    itself unless ``loop_guard`` (as the model's recipe says if None) is off.

    It happens twice and the second time is recorded, so that times are not those of first calls.

    Raises:
        RequestError: nothing is asked, one of the media cannot be used, or it does not fit the context.
    """
    if not text.strip() and not media:
        raise RequestError("there is nothing to trace", 'give some text or a file: muomni trace "Hello, how are you?"')
    _Question(packed, lambda _: None).ask(text, media, 1)
    question = _Question(packed, notice, loop_guard)
    with packed.watched(question.calls.tell):
        question.ask(text, media, tokens)
    return question.calls.lines


def trace_packed_speech(packed: Engine, text: str) -> list[Line]:
    """Everything that is run for a text that is spoken; a first time unrecorded, as in :func:`trace_packed`.

    Raises:
        RequestError: the model does not speak, or nothing of the text can be spoken.
    """
    if not text.strip():
        raise RequestError("there is nothing to speak", 'give some text: muomni trace --speech "Hello."')
    voice_of(packed)  # says what is missing
    _speak(packed, GraphCalls(), text)
    calls = GraphCalls()
    with packed.watched(calls.tell):
        _speak(packed, calls, text)
    return calls.lines


class _Question:
    """One question on its way."""

    def __init__(self, packed: Engine, notice: Callable[[str], None], loop_guard: bool | None = None) -> None:
        self.packed, self.notice = packed, notice
        self.calls = GraphCalls()
        self.log = self.calls.log
        self.backend = packed.backend()
        self.state: Any = None
        self.tokenizer = packed.tokenizer()
        self.chat = ChatSettings.model_validate(packed.chat)
        self.loop_guard = self.chat.loop_guard if loop_guard is None else loop_guard

    def ask(self, text: str, media: Sequence[Media], tokens: int) -> None:
        """See :func:`trace_packed`."""
        ids = self._lay_out(text, self._take_in(media))
        self.log.begin("thinker")
        what = "all of the sequence at once; only what follows the last token is kept"
        logits = self.calls.measure("thinker", what, self._begin, ids, len(ids) + tokens)
        self.log.note(inputs=((1, len(ids)),), counts=f"{many(len(ids), 'token')} -> 1 set of logits")
        answer = self._go_on(self._choose(logits[0]), len(ids), tokens)
        spell_out(self.log, self.tokenizer, answer)

    def _begin(self, ids: Sequence[int], capacity: int) -> NDArray[np.float32]:
        """(1,V) logits after ``ids``."""
        self.state, logits = self.backend.begin([ids], capacity)
        return logits

    def _take_in(self, media: Sequence[Media]) -> Taken:
        """Media -> the tokens (T,D) of each, in the order in which they stand in the sequence."""
        own = senses_of(self.packed)
        senses = Senses(self.packed.encode, own, self.backend.context, self.notice)
        read = []
        for one in in_order(media, own):
            self.log.begin(f"{one.modality}: {one.name}")
            what = f"the file as {one.modality} for the encoder"
            read.append((one, self.calls.measure("read", what, senses.read, one)))
            self.log.note(counts=f"{read[-1][1].size:,} numbers")
        seen = []
        for (one, array), kept in zip(read, senses.allot(read), strict=True):
            self.log.begin(f"{one.modality}: {one.name}")
            what = "its tokens, as wide as the Thinker's embeddings"
            rows = self.calls.measure("encoder", what, senses.encode, one, array, kept)
            self.log.note(inputs=(array.shape,), counts=f"1 {one.modality} -> {many(len(rows), 'token')}")
            seen.append((one, rows))
        return seen

    def _lay_out(self, text: str, seen: Taken) -> list[int]:
        """The sequence: ids, those below 0 standing for media."""
        self.log.begin("text")
        soft = [self.backend.remember(rows) for _, rows in seen]
        coming = iter(soft)
        message = Message("user", text, tuple(one for one, _ in seen))
        what = "text to ids, with the special tokens that the template wants"
        ids = self.calls.measure(
            "tokenize",
            what,
            one_shot_ids,
            self.tokenizer,
            message,
            self.backend.context,
            self.chat.template,
            self.chat.system,
            soft=lambda _: next(coming),
        )
        words = [token for token in ids if token >= 0]
        self.log.note(
            outputs=((len(words),),),
            counts=f"{many(len(text), 'character')} -> {many(len(words), 'id')}: {pieces(self.tokenizer, words)}",
            values={"ids": words},
        )
        if seen:
            self._fuse(ids, soft, seen)
        return ids

    def _fuse(self, ids: Sequence[int], soft: Sequence[Sequence[int]], seen: Taken) -> None:
        """Tell what stands where."""
        self.log.begin("sequence")
        places = {token: -1 - number for number, token in enumerate(token for row in soft for token in row)}
        what = "one sequence along time, in the order of the template"
        owners = [(one.modality, len(rows)) for one, rows in seen]
        parts = self.calls.measure("fusion", what, runs, [places.get(token, token) for token in ids], owners)
        width = seen[0][1].shape[1]
        total = " + ".join(str(count) for _, count in parts)
        self.log.note(
            inputs=tuple((1, count, width) for _, count in parts),
            outputs=((1, len(ids), width),),
            counts=f"{' '.join(f'[{name}]' for name, _ in parts)}: {total} = {len(ids)} tokens",
            values={"parts": [{"name": name, "tokens": count} for name, count in parts]},
        )

    def _choose(self, logits: NDArray[np.float32]) -> int:
        self.log.begin("next token")
        what = "softmax: what it would say next, and how likely"
        self.calls.measure("probabilities", what, _softmax, logits)
        tell_likeliest(self.log, self.tokenizer, logits)
        token = self.calls.measure("choice", "the likeliest token (argmax)", lambda all_: int(all_.argmax()), logits)
        self.log.note(counts=f"1 new token: {quoted(self.tokenizer, token)}", values={"token": token})
        return token

    def _go_on(self, token: int, held: int, tokens: int) -> list[int]:
        """``tokens`` tokens from the first on: fewer where the model ends, repeats itself or fills the context."""
        self.log.begin("generation")
        answer = Answering(self.tokenizer, tokens, loop_guard=self.loop_guard)
        answer.add(token)
        while not answer.over and held < self.backend.context:
            what = "the new token alone; all before it are in the cache"
            given = np.array([token], np.int64)
            logits = self.calls.measure(f"token {len(answer.tokens) + 1}", what, self.backend.step, self.state, given)
            token, held = int(logits[0].argmax()), held + 1
            told = f"cache {held - 1} -> {held} tokens; then comes {quoted(self.tokenizer, token)}"
            self.log.note(inputs=((1, 1),), counts=told, values={"token": token, "cache": held})
            answer.add(token)
        return answer.kept(self.log)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def _speak(packed: Engine, calls: GraphCalls, text: str) -> None:
    """See :func:`trace_packed_speech`."""
    log, codec = calls.log, packed.runner("codec")
    seconds = codec.frame * codec.mel.hop / codec.mel.sample_rate
    tell_bound(log, packed.tokenizer() if "thinker" in packed.parts else None, text, seconds)
    codes = _codes(packed, calls, text)
    log.begin("codes")
    made = calls.measure("codes", "one row of codes a frame, in the order of time", np.concatenate, codes)
    tell_codes(log, len(made), made.shape[1], seconds)
    _sound(packed, codec, calls, made)


def _codes(packed: Engine, calls: GraphCalls, text: str) -> list[NDArray[Any]]:
    """(n,Q) each."""
    calls.log.begin("talker")
    frames = packed.runner("talker").speak([Said(text)], Manner(), lambda logits: int(logits.argmax()))
    what = "all of the following: as much text as is needed, and codes"
    first = calls.measure("first frames", what, next, frames, None)
    if first is None:
        raise RequestError("nothing of this text can be spoken", "give a text with words")
    calls.log.note(counts=f"{many(len(first), 'frame')} of {many(first.shape[1], 'code')}")
    rest = calls.measure("other frames", "the same for the rest, until the text is spoken", _joined, frames, first[:0])
    calls.log.note(inputs=(), counts=many(len(rest), "frame"))
    return [first, rest]


def _sound(packed: Engine, codec: RunCodec, calls: GraphCalls, codes: NDArray[Any]) -> None:
    log, rate = calls.log, codec.mel.sample_rate
    log.begin("codec")
    mel = calls.measure("decoder", "codes to log-mel, all of them and then the end", _flown, codec.stream(), codes)
    log.note(inputs=(codes.shape,), counts=f"{many(len(codes), 'code frame')} -> {many(len(mel), 'mel frame')}")
    log.begin("vocoder")
    what = "log-mel to samples, all of it and then the end"
    wave = calls.measure("vocoder", what, _flown, packed.runner("vocoder").stream(), mel)
    told = f"{many(len(mel), 'mel frame')} -> {many(wave.size, 'sample')}: {wave.size / rate:g} s at {rate:,} Hz"
    log.note(inputs=(mel.shape,), counts=told)


def _joined(frames: Iterator[NDArray[np.int64]], none: NDArray[np.int64]) -> NDArray[np.int64]:
    """What is left of them, as one array."""
    return np.concatenate([none, *frames])


def _flown(flow: Flow, whole: NDArray[Any]) -> NDArray[Any]:
    """All that comes out of it."""
    return np.concatenate([flow.push(whole), flow.finish()])
