"""What a trace says of ids, text and code frames, whatever runs the model. Knows logs and tokenizers, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.models import Tokenizer
from muomni_cli.contract.speech import EACH, FEWEST, MOST, most_frames
from muomni_cli.contract.tracing import Step
from muomni_cli.speech.lexicon import words_of
from muomni_cli.trace.lines import Line
from muomni_cli.trace.log import Log
from muomni_cli.trace.words import likeliest, pieces


def tell_likeliest(log: Log, tokenizer: Tokenizer, logits: NDArray[np.float32]) -> None:
    """Note the likeliest tokens after (V,) logits beside the step that was recorded last."""
    best = likeliest(tokenizer, logits)
    told = ", ".join(f"{one['piece']} {one['probability']:.2%}" for one in best)
    log.note(counts=told, values={"likeliest": best})


def spell_out(log: Log, tokenizer: Tokenizer, answer: Sequence[int]) -> None:
    """The text of an answer."""
    log.begin("text again")
    known = [token for token in answer if token < tokenizer.vocab_size]
    step = Step(at="", title="decode", what="ids to text; special tokens give nothing")
    text = log.measure(step, tokenizer.decode, known)
    left = f" ({many(len(answer) - len(known), 'id')} unknown to the tokenizer)" if len(known) < len(answer) else ""
    log.note(
        inputs=((len(answer),),),
        counts=f"{many(len(answer), 'id')} -> {many(len(text), 'character')}{left}: {text!r}",
        values={"ids": list(answer), "text": text},
    )


def answer_of(lines: Sequence[Line]) -> str:
    """The text of the answer that was traced; empty if none was."""
    return next((str(line.values["text"]).strip() for line in reversed(lines) if "text" in line.values), "")


def tell_bound(log: Log, tokenizer: Tokenizer | None, text: str, seconds: float) -> None:
    """How many tokens a text has, and so how many code frames, of so many ``seconds``, it may take at most."""
    log.begin("spoken text")
    if tokenizer is None:
        words = log.measure(Step(at="", title="words", what="no tokenizer: words are counted"), words_of, text)
        count, unit = len(words), "word"
        log.note(outputs=((count,),), counts=f"{len(text):,} characters -> {many(count, unit)}")
    else:
        ids = log.measure(Step(at="", title="tokenize", what="text to ids"), tokenizer.encode, text)
        count, unit = len(ids), "token"
        told = f"{len(text):,} characters -> {many(count, unit)}: {pieces(tokenizer, ids)}"
        log.note(outputs=((count,),), counts=told, values={"ids": list(ids)})
    step = Step(at="", title="bound", what="the most frames that it may take; speech ends where the Talker says so")
    most = log.measure(step, most_frames, count)
    told = f"max({FEWEST}, min({MOST}, {EACH} x {count})) = {most} frames, {most * seconds:g} s"
    log.note(inputs=((count,),), counts=told, values={"max_frames": most})


def tell_codes(log: Log, frames: int, books: int, seconds: float) -> None:
    """Note how many code frames, of so many ``seconds``, were made by the step that was recorded last."""
    told = f"{many(frames, 'frame')} x {many(books, 'codebook')} = {frames * books:,} code indices"
    log.note(counts=f"{told}, {frames * seconds:g} s", values={"frames": frames})


def runs(ids: Sequence[int], media: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """What the sequence consists of, in order: each of the media with its count, and stretches of text between them."""
    owner = [name for name, count in media for _ in range(count)]
    number = [place for place, (_, count) in enumerate(media) for _ in range(count)]
    keys = [(owner[-1 - token], number[-1 - token]) if token < 0 else ("text", -1) for token in ids]
    return [(name, len(list(group))) for (name, _), group in groupby(keys)]


def many(count: int, what: str) -> str:
    """``1 token``, ``2,000 tokens``."""
    return f"{count:,} {what}{'s' * (count != 1)}"
