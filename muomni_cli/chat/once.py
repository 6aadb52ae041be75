"""One question, one answer: text on stdout as it comes, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from muomni_cli.chat.aloud import REPEATED, Mouth, deliver
from muomni_cli.chat.terminal import write_answer
from muomni_cli.contract.media import Media
from muomni_cli.core.console import print_json, say
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.settings import AnswerSettings, describe


def answer_once(
    speaker: ChatModel,
    settings: AnswerSettings,
    prompt: str,
    media: Sequence[Media] = (),
    *,
    json: bool,
    stats: bool,
    mouth: Mouth | None = None,
) -> None:
    """Answer ``prompt``, asked about ``media``; aloud, with a ``mouth``.

    Raises:
        RequestError: the prompt is empty, it does not fit the context, or one of the media cannot be used.
    """
    ids = speaker.prompt(prompt, media, settings)
    answer = Answer()
    pieces = speaker.answer(ids, settings, answer)
    with mouth.session() if mouth else nullcontext():
        deliver(pieces, _unseen if json else write_answer, mouth, seed=settings.seed, stats=stats)
        if not json:
            print(flush=True)  # before anything is told of the speech
    if answer.finish == "loop":
        say(REPEATED)
    if json:
        print_json(_report(speaker, settings, answer, len(ids)))
    if stats:
        say(stats_line(answer))


def _unseen(_: str) -> None:
    """What is printed at the end as JSON is not shown before."""


def stats_line(answer: Answer) -> str:
    """How much was said, how fast, and why it ended."""
    return f"{len(answer.tokens)} tokens, {answer.rate:.0f} tokens/s, {answer.finish or 'interrupted'}"


def _report(speaker: ChatModel, settings: AnswerSettings, answer: Answer, prompt_tokens: int) -> dict[str, object]:
    return {
        "text": answer.text,
        "tokens": len(answer.tokens),
        "prompt_tokens": prompt_tokens,
        "finish": answer.finish,
        "tokens_per_second": round(answer.rate, 1),
        "model": speaker.label,
        "seed": settings.seed,
        "settings": describe(settings),
    }
