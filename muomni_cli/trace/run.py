"""One question through a model, recorded: encoders, the sequence, the Thinker, the next tokens, the text.

The same functions as in chat, called one by one. Shapes: B batch (1), T tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.contract.data import Message
from muomni_cli.contract.declarations import Can, Part
from muomni_cli.contract.media import Media
from muomni_cli.contract.models import Cache
from muomni_cli.contract.tracing import Step
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import one_shot_ids
from muomni_cli.data.shares import in_order
from muomni_cli.omni.senses import Senses
from muomni_cli.registry.registry import resolve
from muomni_cli.trace.answering import Answering
from muomni_cli.trace.lines import Line
from muomni_cli.trace.open import Subject
from muomni_cli.trace.recorder import Recorder, steps_of
from muomni_cli.trace.tellers import many, runs, spell_out, tell_likeliest
from muomni_cli.trace.words import pieces, quoted

Seen = list[tuple[Media, NDArray[np.float32]]]


def trace(
    subject: Subject,
    text: str,
    media: Sequence[Media],
    tokens: int,
    notice: Callable[[str], None],
    *,
    loop_guard: bool | None = None,
) -> list[Line]:
    """Everything that happens to a question, and at most ``tokens`` tokens of the answer, which ends before it repeats
    itself unless ``loop_guard`` (as the model's recipe says if None) is off.

    It happens twice and the second time is recorded, so that times are not those of first calls.

    Raises:
        RequestError: nothing is asked, one of the media cannot be used, or it does not fit the context.
    """
    if not text.strip() and not media:
        raise RequestError("there is nothing to trace", 'give some text or a file: muomni trace "Hello, how are you?"')
    _Run(subject, lambda _: None).ask(text, media, 1)
    run = _Run(subject, notice, loop_guard)
    run.ask(text, media, tokens)
    return run.recorder.lines


class _Run:
    """One question on its way."""

    def __init__(self, subject: Subject, notice: Callable[[str], None], loop_guard: bool | None = None) -> None:
        self.subject, self.model = subject, subject.model
        self.thinker: Any = subject.model.thinker
        self.tokenizer = subject.tokenizer
        self.device = self.thinker.head_weight.device
        self.recorder = Recorder(self.device)
        self.notice = notice
        self.loop_guard = subject.chat.loop_guard if loop_guard is None else loop_guard
        self.embeds: Tensor | None = None  # (1,T,D), where the sequence holds more than text
        self.ids: list[int] = []

    @torch.inference_mode()
    def ask(self, text: str, media: Sequence[Media], tokens: int) -> None:
        """See :func:`trace`."""
        with ExitStack() as stack:
            self._watch(stack)
            seen = self._take_in(media)
            self._lay_out(text, seen)
            cache, logits = self._think(tokens)
        said = self._choose(logits)
        answer = self._go_on(said, cache, tokens)
        spell_out(self.recorder, self.tokenizer, answer)

    def _watch(self, stack: ExitStack) -> None:
        watching = self.recorder.watching
        stack.enter_context(watching(self.thinker, declared(self.subject.thinker, self.thinker)))
        if self.model.omni is None:
            return
        for modality, sense in self.model.senses.items():
            encoder = self.model.omni.encoders[modality]
            stack.enter_context(watching(encoder, declared(sense.part, encoder)))
        width = self.thinker.config.d_model
        stack.enter_context(
            watching(
                self.model.omni,
                [
                    Step(
                        at=f"projectors.{modality}",
                        title="projector",
                        what=f"one linear layer to the Thinker's width, {width}",
                        counts=lambda a, b: f"{many(a[1], 'token')} of {a[2]} -> {many(b[1], 'token')} of {b[2]}",
                    )
                    for modality in self.model.senses
                ],
            )
        )

    def _take_in(self, media: Sequence[Media]) -> Seen:
        """Media -> the tokens (T,D) of each, in the order in which they stand in the sequence."""
        ordered = in_order(media, self.model.senses)
        if not ordered:
            return []
        if Can.EMBEDS not in self.model.can:
            raise RequestError("this Thinker takes no embeddings, so it can neither see nor hear", "trace text alone")
        assert self.model.omni is not None, "what has senses has encoders"
        senses = Senses(self.model.omni.encode, self.model.senses, int(self.thinker.config.ctx_len), self.notice)
        read = []
        for one in ordered:
            self.recorder.begin(f"{one.modality}: {one.name}")
            step = Step(at="", title="read", what=f"the file as {one.modality} for the encoder")
            read.append((one, self.recorder.measure(step, senses.read, one)))
            self.recorder.note(counts=f"{read[-1][1].size:,} numbers")
        seen = []
        for (one, array), kept in zip(read, senses.allot(read), strict=True):
            self.recorder.begin(f"{one.modality}: {one.name}")
            step = Step(at="", title="encoder", what="all of the following, and the projector")
            rows = self.recorder.measure(step, senses.encode, one, array, kept)
            self.recorder.note(inputs=(array.shape,), counts=f"1 {one.modality} -> {many(len(rows), 'token')}")
            seen.append((one, rows))
        return seen

    def _lay_out(self, text: str, seen: Seen) -> None:
        """Make the sequence: ``ids``, those below 0 standing for media, and ``embeds`` where there are some."""
        self.recorder.begin("text")
        numbers = iter(range(-1, -1 - sum(len(rows) for _, rows in seen), -1))
        soft = iter([[next(numbers) for _ in rows] for _, rows in seen])
        message = Message("user", text, tuple(one for one, _ in seen))
        chat, context = self.subject.chat, int(self.thinker.config.ctx_len)
        step = Step(at="", title="tokenize", what="text to ids, with the special tokens that the template wants")
        self.ids = self.recorder.measure(
            step, one_shot_ids, self.tokenizer, message, context, chat.template, chat.system, soft=lambda _: next(soft)
        )
        words = [token for token in self.ids if token >= 0]
        self.recorder.note(
            outputs=((len(words),),),
            counts=f"{many(len(text), 'character')} -> {many(len(words), 'id')}: {pieces(self.tokenizer, words)}",
            values={"ids": words},
        )
        if not seen:
            return
        embedded: Tensor = self.thinker.embed(torch.tensor([words], device=self.device))
        self.recorder.begin("sequence")
        rows = torch.from_numpy(np.concatenate([rows for _, rows in seen])).to(embedded)
        step = Step(at="", title="fusion", what="one sequence along time, in the order of the template")
        self.embeds = self.recorder.measure(step, fuse, self.ids, rows, embedded)
        parts = runs(self.ids, [(one.modality, len(own)) for one, own in seen])
        total = " + ".join(str(count) for _, count in parts)
        self.recorder.note(
            inputs=tuple((1, count, embedded.shape[2]) for _, count in parts),
            counts=f"{' '.join(f'[{name}]' for name, _ in parts)}: {total} = {len(self.ids)} tokens",
            values={"parts": [{"name": name, "tokens": count} for name, count in parts]},
        )

    def _think(self, tokens: int) -> tuple[Cache | None, Tensor]:
        """All of the sequence at once -> the cache that holds it, and logits (1,T,V)."""
        self.recorder.begin("thinker")
        cache = self._new_cache(len(self.ids) + tokens)
        step = Step(at="", title="thinker", what="all of the following, for the whole sequence at once")
        output = self.recorder.measure(step, self._call, self.ids, self.embeds, cache)
        shape = (1, len(self.ids)) if self.embeds is None else tuple(self.embeds.shape)
        held = f"; the cache holds {cache.lengths[0]}" if cache is not None else ""
        self.recorder.note(
            inputs=(shape,), counts=f"{many(len(self.ids), 'token')} -> {len(self.ids)} sets of logits{held}"
        )
        return cache, output.logits

    def _new_cache(self, wanted: int) -> Cache | None:
        if Can.CACHE not in self.model.can:
            return None
        made: Cache = self.thinker.new_cache(1, min(wanted, int(self.thinker.config.ctx_len)))
        return made

    def _call(self, ids: Sequence[int], embeds: Tensor | None, cache: Cache | None, last_only: bool = False) -> Any:
        if embeds is not None:
            return self.thinker(embeds=embeds, cache=cache, last_only=last_only)
        return self.thinker(torch.tensor([list(ids)], device=self.device), cache=cache, last_only=last_only)

    def _choose(self, logits: Tensor) -> int:
        self.recorder.begin("next token")
        step = Step(at="", title="last place", what="only what follows the last token is wanted")
        last = self.recorder.measure(step, lambda all_: all_[0, -1], logits)
        self.recorder.note(counts=f"{many(logits.shape[1], 'set')} of logits -> 1")
        step = Step(at="", title="probabilities", what="softmax: what it would say next, and how likely")
        self.recorder.measure(step, lambda scores: scores.float().softmax(-1), last)
        tell_likeliest(self.recorder, self.tokenizer, last.float().cpu().numpy())
        step = Step(at="", title="choice", what="the likeliest token (argmax)")
        token: int = self.recorder.measure(step, lambda scores: int(scores.argmax()), last)
        self.recorder.note(counts=f"1 new token: {quoted(self.tokenizer, token)}", values={"token": token})
        return token

    def _go_on(self, token: int, cache: Cache | None, tokens: int) -> list[int]:
        """``tokens`` tokens from the first on: fewer where the model ends, repeats itself or fills the context."""
        self.recorder.begin("generation")
        answer = Answering(self.tokenizer, tokens, loop_guard=self.loop_guard)
        answer.add(token)
        held = len(self.ids)
        while not answer.over and held < self.thinker.config.ctx_len:
            self._append(token)
            what = "the new token alone; all before it are in the cache" if cache else "everything again: no cache"
            step = Step(at="", title=f"token {len(answer.tokens) + 1}", what=what)
            if cache is not None:
                output = self.recorder.measure(step, self._call, [token], None, cache, True)
                self.recorder.note(inputs=((1, 1),))
            else:
                output = self.recorder.measure(step, self._call, self.ids, self.embeds, None, True)
            token = int(output.logits[0, -1].argmax())
            held = len(self.ids)
            kept = f"cache {held - 1} -> {cache.lengths[0]} tokens; " if cache is not None else ""
            values = {"token": token} | ({"cache": cache.lengths[0]} if cache is not None else {})
            self.recorder.note(counts=f"{kept}then comes {quoted(self.tokenizer, token)}", values=values)
            answer.add(token)
        return answer.kept(self.recorder)

    def _append(self, token: int) -> None:
        self.ids.append(token)
        if self.embeds is not None:
            new = self.thinker.embed(torch.tensor([[token]], device=self.device))
            self.embeds = torch.cat((self.embeds, new), dim=1)


def declared(part: Part, module: nn.Module) -> list[Step]:
    """What a part says happens inside of it, or its top-level submodules."""
    if part.steps is None:
        return steps_of(module)
    return list(cast("Sequence[Step]", resolve(part.steps, f"{part.kind} {part.name}")(module)))


def fuse(ids: Sequence[int], soft: Tensor, embedded: Tensor) -> Tensor:
    """(1,T,D): at each id below 0 the next of ``soft`` (n,D), at each other one the next of ``embedded`` (1,T-n,D)."""
    shown = torch.tensor([token < 0 for token in ids], device=embedded.device)
    fused = embedded.new_empty(1, len(ids), embedded.shape[2])
    fused[0, shown] = soft
    fused[0, ~shown] = embedded[0]
    return fused
