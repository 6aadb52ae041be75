"""Messages to ids: the one place that lays out a conversation, for training data and for chat.

Knows a tokenizer's special tokens and two templates, not models or files::

    plain   media bos text, later turns on a line of their own; for models of documents
    roles   bos (role media text)*, with eos after what the assistant says; for models of conversations

A picture or a sound is a run of *soft* ids: negative numbers, one for each token that its encoder makes. Who lays out
gives them their meaning; a tokenizer has none below 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.models import Tokenizer
from muomni_cli.core.errors import RequestError

Template = Literal["plain", "roles"]

MediaIds = Callable[[Media], Sequence[int]]
"""What stands for one picture or sound."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A conversation as the model sees it: ``ids``, and for each whether it is the assistant's ``answer``."""

    ids: list[int]
    answer: list[bool]


def turn_text(message: Message, template: Template, *, first: bool = False) -> str:
    """What of a turn is encoded. ``first``: nothing but the start stands before it."""
    return "\n" + message.text if template == "plain" and not first else message.text


def turn_ids(
    tokenizer: Tokenizer, message: Message, template: Template, *, first: bool = False, media_ids: Sequence[int] = ()
) -> list[int]:
    """One finished turn, with the start of the sequence before it if it is the ``first``.

    Args:
        tokenizer: gives ids and special tokens.
        message: the turn.
        template: see the module.
        first: nothing stands before it.
        media_ids: what stands for the message's media.
    """
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
    """The role token and the start are given, never learned: the model speaks only when its turn was opened."""
    specials = tokenizer.specials
    start = [specials["bos"]] if first else []
    if template == "plain":
        given, said = [*media_ids, *start], encoded
    else:
        end = [specials["eos"]] if message.role == "assistant" else []
        given, said = [*start, specials[message.role], *media_ids], [*encoded, *end]
    return Layout([*given, *said], [False] * len(given) + [message.role == "assistant"] * len(said))


def reply_ids(tokenizer: Tokenizer, template: Template) -> list[int]:
    """What opens the assistant's turn, for the model to go on from."""
    return [tokenizer.specials["assistant"]] if template == "roles" else []


def chat_ids(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    template: Template = "roles",
    *,
    reply: bool = False,
    media_ids: MediaIds | None = None,
) -> Layout:
    """Lay out a conversation.

    Args:
        tokenizer: gives ids and special tokens.
        messages: the turns in order.
        template: see the module.
        reply: end with an open assistant's turn, for generation.
        media_ids: what stands for pictures and sounds; needed where there are some.
    """
    encoded = map(tokenizer.encode, turn_texts(messages, template))
    return lay_out(tokenizer, messages, encoded, template, reply=reply, media_ids=media_ids)


def turn_texts(messages: Sequence[Message], template: Template) -> list[str]:
    """What :func:`lay_out` wants encoded, a text each turn."""
    return [turn_text(message, template, first=number == 0) for number, message in enumerate(messages)]


def lay_out(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    encoded: Iterable[list[int]],
    template: Template,
    *,
    reply: bool = False,
    media_ids: MediaIds | None = None,
) -> Layout:
    """:func:`chat_ids` for turns whose :func:`turn_texts` are encoded already, which is faster for many at once."""
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


def require_room(ids: Sequence[int], context: int) -> None:
    """Refuse what is longer than the context.

    Raises:
        RequestError: with the counts.
    """
    if len(ids) > context:
        shown = sum(token < 0 for token in ids)
        counts = f" ({shown} of pictures and sound, {len(ids) - shown} of text)" if shown else ""
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
    """Ids of one question, ready for the answer.

    Raises:
        RequestError: nothing was asked, or it leaves no room in a context of ``context`` tokens.
    """
    if not message.text.strip() and not message.media:
        raise RequestError("the prompt is empty", 'give some text: muomni chat "Once upon a time"')
    messages = [Message("system", system)] if system else []
    ids = chat_ids(tokenizer, [*messages, message], template, reply=True, media_ids=media_ids).ids
    require_room(ids, context)
    return ids
