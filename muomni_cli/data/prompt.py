"""Layout of conversations as ids, for training data and for chat. Templates::

    plain   media bos text, later turns on a new line; for models of documents
    roles   bos (role media text)*; for models of conversations

In both, eos ends the assistant's text, as it ends a document, so that an answer has an end.

An image or audio clip is a run of *soft* ids: negative numbers, one per token of its encoder, whose meaning is defined
by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError

Template = Literal["plain", "roles"]
MediaIds = Callable[[Media], Sequence[int]]  # ids that stand for one image or audio clip


@dataclass(frozen=True, slots=True)
class Layout:
    """A conversation as the model sees it: ``ids``, and whether each is part of an ``answer`` of the assistant."""

    ids: list[int]
    answer: list[bool]


def turn_text(message: Message, template: Template, *, first: bool = False) -> str:
    """The text of a turn to encode."""
    return "\n" + message.text if template == "plain" and not first else message.text


def turn_ids(
    tokenizer: Tokenizer, message: Message, template: Template, *, first: bool = False, media_ids: Sequence[int] = ()
) -> list[int]:
    """One finished turn, including the start of the sequence if it is the ``first``. ``media_ids``: soft ids."""
    encoded = tokenizer.encode(turn_text(message, template, first=first))
    return _turn(tokenizer, message, template, encoded, media_ids, first).ids


def _turn(
    tokenizer: Tokenizer,
    message: Message,
    template: Template,
    encoded: list[int],
    media_ids: Sequence[int],
    first: bool,
) -> Layout:
    """The role token and the start are never trained on: they are always given."""
    specials = tokenizer.specials
    start = [specials["bos"]] if first else []
    given = [*media_ids, *start] if template == "plain" else [*start, specials[message.role], *media_ids]
    answer = message.role == "assistant"
    text = [*encoded, specials["eos"]] if answer else encoded
    return Layout([*given, *text], [False] * len(given) + [answer] * len(text))


def reply_ids(tokenizer: Tokenizer, template: Template) -> list[int]:
    """The opening of the assistant's turn, for the model to continue."""
    return [tokenizer.specials["assistant"]] if template == "roles" else []


def chat_ids(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    template: Template = "roles",
    *,
    reply: bool = False,
    media_ids: MediaIds | None = None,
    encoded: Iterable[list[int]] | None = None,
) -> Layout:
    """Lay out a conversation.

    Args:
        tokenizer: the model's.
        messages: the turns in order.
        template: see the module.
        reply: end with an open assistant's turn, for generation.
        media_ids: soft ids of media; required if there are any.
        encoded: ids of :func:`turn_texts`, if they are known: encoding many conversations at once is faster.
    """
    if encoded is None:
        encoded = map(tokenizer.encode, turn_texts(messages, template))
    ids: list[int] = []
    answer: list[bool] = []
    for number, (message, own) in enumerate(zip(messages, encoded, strict=True)):
        shown = [token for media in message.media for token in media_ids(media)] if media_ids is not None else []
        turn = _turn(tokenizer, message, template, own, shown, first=number == 0)
        ids += turn.ids
        answer += turn.answer
    if reply:
        opening = reply_ids(tokenizer, template)
        ids += opening
        answer += [False] * len(opening)
    return Layout(ids, answer)


def turn_texts(messages: Sequence[Message], template: Template) -> list[str]:
    """The text of each turn to encode."""
    return [turn_text(message, template, first=number == 0) for number, message in enumerate(messages)]


def require_room(ids: Sequence[int], context: int) -> None:
    """RequestError if the prompt is longer than the context."""
    if len(ids) > context:
        shown = sum(token < 0 for token in ids)
        counts = f" ({shown} of media, {len(ids) - shown} of text)" if shown else ""
        raise RequestError(
            f"the prompt is {len(ids)} tokens long{counts} and the model's context holds {context}",
            f"shorten it by {len(ids) - context} tokens, or train with a larger ctx_len",
        )


def one_shot_ids(
    tokenizer: Tokenizer,
    message: Message,
    context: int,
    template: Template = "roles",
    system: str | None = None,
    media_ids: MediaIds | None = None,
) -> list[int]:
    """Ids of a single question, ready for the answer. Raises RequestError: the question is empty, or too long for a
    context of ``context`` tokens."""
    if not message.text.strip() and not message.media:
        raise RequestError("the prompt is empty", 'give some text: muomni chat "Once upon a time"')
    messages = [Message("system", system)] if system else []
    ids = chat_ids(tokenizer, [*messages, message], template, reply=True, media_ids=media_ids).ids
    require_room(ids, context)
    return ids
