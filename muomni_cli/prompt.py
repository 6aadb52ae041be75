"""Messages to ids: the one place that lays out a conversation, for training data and for chat.

Knows a tokenizer's special tokens and two templates, not models or files::

    plain   bos text, later turns on a line of their own; for models of documents
    roles   bos (role text)*, with eos after what the assistant says; for models of conversations
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from muomni_cli.api import Message, RequestError, Tokenizer

Template = Literal["plain", "roles"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A conversation as the model sees it: ``ids``, and for each whether it is the assistant's ``answer``."""

    ids: list[int]
    answer: list[bool]


def start_ids(tokenizer: Tokenizer) -> list[int]:
    """What every sequence begins with."""
    return [tokenizer.specials["bos"]]


def turn_text(message: Message, template: Template, *, first: bool = False) -> str:
    """What of a turn is encoded. ``first``: nothing but the start stands before it."""
    return "\n" + message.text if template == "plain" and not first else message.text


def message_ids(tokenizer: Tokenizer, message: Message, template: Template, *, first: bool = False) -> list[int]:
    """One finished turn. ``first``: nothing but the start stands before it."""
    return _turn_ids(tokenizer, message, template, tokenizer.encode(turn_text(message, template, first=first)))


def _turn_ids(tokenizer: Tokenizer, message: Message, template: Template, encoded: list[int]) -> list[int]:
    if template == "plain":
        return encoded
    end = [tokenizer.specials["eos"]] if message.role == "assistant" else []
    return [tokenizer.specials[message.role], *encoded, *end]


def reply_ids(tokenizer: Tokenizer, template: Template) -> list[int]:
    """What opens the assistant's turn, for the model to go on from."""
    return [tokenizer.specials["assistant"]] if template == "roles" else []


def chat_ids(
    tokenizer: Tokenizer, messages: Sequence[Message], template: Template = "roles", *, reply: bool = False
) -> Layout:
    """Lay out a conversation.

    Args:
        tokenizer: gives ids and special tokens.
        messages: the turns in order.
        template: see the module.
        reply: end with an open assistant's turn, for generation.
    """
    return lay_out(tokenizer, messages, map(tokenizer.encode, turn_texts(messages, template)), template, reply=reply)


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
) -> Layout:
    """:func:`chat_ids` for turns whose :func:`turn_texts` are encoded already, which is faster for many at once."""
    ids = start_ids(tokenizer)
    answer = [False]
    for message, own in zip(messages, encoded, strict=True):
        turn = _turn_ids(tokenizer, message, template, own)
        ids += turn
        # The role token is given, never learned: the model speaks only when its turn was opened.
        spoken = message.role == "assistant"
        answer += [spoken and not (template == "roles" and place == 0) for place in range(len(turn))]
    if reply:
        opening = reply_ids(tokenizer, template)
        ids += opening
        answer += [False] * len(opening)
    return Layout(ids, answer)


def one_shot_ids(
    tokenizer: Tokenizer, text: str, context: int, template: Template = "roles", system: str | None = None
) -> list[int]:
    """Ids of one question, ready for the answer.

    Raises:
        RequestError: nothing was asked, or it leaves no room in a context of ``context`` tokens.
    """
    if not text.strip():
        raise RequestError("the prompt is empty", 'give some text: muomni chat "Once upon a time"')
    messages = [Message("system", system)] if system else []
    ids = chat_ids(tokenizer, [*messages, Message("user", text)], template, reply=True).ids
    if len(ids) > context:
        raise RequestError(
            f"the prompt is {len(ids)} tokens long and the model's context holds {context}",
            f"shorten it by {len(ids) - context} tokens, or train with a larger ctx_len",
        )
    return ids
