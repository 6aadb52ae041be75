"""One question, one answer: text on stdout as it comes, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

from muomni_cli.chat.aloud import REPEATED, Mouth, deliver
from muomni_cli.chat.settings import AnswerSettings, describe
from muomni_cli.chat.speaker import Answer, Speaker
from muomni_cli.chat.terminal import write_answer
from muomni_cli.contract.media import Media
from muomni_cli.core.console import print_json, say
from muomni_cli.data.prompt import one_shot_ids


def answer_once(
    speaker: Speaker,
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
    ids = question_ids(speaker, settings, prompt, media)
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


def question_ids(speaker: Speaker, settings: AnswerSettings, prompt: str, media: Sequence[Media] = ()) -> list[int]:
    """Ids of one question about ``media``, ready for the answer. Errors as in :func:`answer_once`."""
    message, soft = speaker.see(prompt, media)
    whole = iter([soft])  # the media of a message come together
    return one_shot_ids(
        speaker.tokenizer,
        message,
        speaker.context,
        settings.template,
        settings.system,
        soft=lambda _: next(whole, ()),
    )


def _unseen(_: str) -> None:
    """What is printed at the end as JSON is not shown before."""


def stats_line(answer: Answer) -> str:
    """How much was said, how fast, and why it ended."""
    return f"{len(answer.tokens)} tokens, {answer.rate:.0f} tokens/s, {answer.finish or 'interrupted'}"


def _report(speaker: Speaker, settings: AnswerSettings, answer: Answer, prompt_tokens: int) -> dict[str, object]:
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
