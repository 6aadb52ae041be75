"""Layout of conversations as ids, for training data and for chat. Templates::

    plain   media bos text, later turns on a new line; for models of documents
    roles   bos (role media text)*; for models of conversations
    own     what the tokenizer's own chat template makes of them, media before the text of their message

In the first two, eos ends the assistant's text, as it ends a document, so that an answer has an end. A tokenizer whose
sequences begin with nothing has no bos.

An image or audio clip is a run of *soft* ids: negative numbers, one per token of its encoder, whose meaning is defined
by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from muomni_cli.contract.data import Media, Message
from muomni_cli.contract.models import ChatTokenizer, Tokenizer
from muomni_cli.core.errors import RequestError

Template = Literal["plain", "roles", "own"]
MediaIds = Callable[[Media], Sequence[int]]  # ids that stand for one image or audio clip


@dataclass(frozen=True, slots=True)
class Layout:
    """A conversation as the model sees it: ``ids``, and whether each is part of an ``answer`` of the assistant."""

    ids: list[int]
    answer: list[bool]


CHAT_TEMPLATES = {  # the layouts of muomni in Jinja, for other programs; media aside
    "plain": (
        "{{ bos_token }}{% for message in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}"
        "{{ message['content'] }}{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    ),
    "roles": (
        "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
        "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
}

# Marks in what a chat template is given, by noncharacters, which no text has a use for: a token of media, a place that
# cuts the spelling of a special token in two, and the limits of what the assistant said.
MEDIA, CUT, ANSWER = "\ufdd0", "\ufdd1", "\ufdd2"
_MARKS = re.compile(f"[{MEDIA}{CUT}{ANSWER}]")


def start_ids(tokenizer: Tokenizer) -> list[int]:
    """How a sequence begins: with bos, if the tokenizer has one."""
    specials = tokenizer.specials
    return [specials["bos"]] if "bos" in specials else []


def end_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens of which each ends an answer: ``eos``, and the others of a tokenizer with ``end_ids``."""
    return frozenset({tokenizer.specials["eos"], *getattr(tokenizer, "end_ids", ())})


def _role_id(tokenizer: Tokenizer, role: str) -> int:
    try:
        return tokenizer.specials[role]
    except KeyError:
        raise RequestError(
            f"the tokenizer has no token for the role {role}, which the template roles needs",
            'set chat.template="own" for the tokenizer\'s own chat template, or "plain"',
        ) from None


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
    start = start_ids(tokenizer) if first else []
    plain = template == "plain"
    given = [*media_ids, *start] if plain else [*start, _role_id(tokenizer, message.role), *media_ids]
    answer = message.role == "assistant"
    text = [*encoded, tokenizer.specials["eos"]] if answer else encoded
    return Layout([*given, *text], [False] * len(given) + [answer] * len(text))


def reply_ids(tokenizer: Tokenizer, template: Template) -> list[int]:
    """The opening of the assistant's turn, for the model to continue."""
    return [_role_id(tokenizer, "assistant")] if template == "roles" else []


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

    Raises:
        RequestError: the tokenizer has no tokens for the roles, no chat template, or one that refuses the conversation.
    """
    if template == "own":
        return _own_layout(tokenizer, messages, reply=reply, media_ids=media_ids)
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
    """The text of each turn to encode; none for ``own``, whose template makes one text of all."""
    if template == "own":
        return []
    return [turn_text(message, template, first=number == 0) for number, message in enumerate(messages)]


def _own_layout(
    tokenizer: Tokenizer, messages: Sequence[Message], *, reply: bool, media_ids: MediaIds | None
) -> Layout:
    """A conversation by the tokenizer's own chat template, tokenized as one text, as transformers does it. A text that
    spells a special token is cut there, so it stays text."""
    chat = cast("ChatTokenizer", tokenizer)
    render = getattr(tokenizer, "chat_template", None)
    if render is None:
        raise RequestError("the tokenizer has no chat template", 'choose another layout: chat.template="plain"')
    shown = [[media_ids(media) for media in message.media] if media_ids else [] for message in messages]
    soft = iter([token for media in shown for tokens in media for token in tokens])
    counts = [sum(map(len, media)) for media in shown]
    texts = [
        MEDIA * count + _cut(chat, _MARKS.sub("", message.text))
        for count, message in zip(counts, messages, strict=True)
    ]
    roles = [message.role for message in messages]

    def rendered(contents: Sequence[str]) -> str:
        turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        return cast("str", render(turns, reply=reply))

    text = rendered(texts)
    answers = [False] * len(text)
    if "assistant" in roles:
        around = [f"{ANSWER}{one.strip()}{ANSWER}" if role == "assistant" else one
                  for role, one in zip(roles, texts, strict=True)]  # fmt: skip
        answers = _answered(rendered(around), text)
    ids: list[int] = []
    answer: list[bool] = []
    eos, start = tokenizer.specials["eos"], 0
    for piece in re.split(f"([{MEDIA}{CUT}])", text):
        if piece == MEDIA:
            ids.append(next(soft))
            answer.append(False)
        elif piece and piece != CUT:
            for token, begin, end in chat.encode_marked(piece):
                said = any(answers[start + begin : start + end])
                ids.append(token)
                answer.append(said or (token == eos and answer[-1:] == [True]))  # an answer ends with its eos
        start += len(piece)
    return Layout(ids, answer)


def _answered(marked: str, text: str) -> list[bool]:
    """Of each character of ``text``, whether the assistant said it; of none, if the template changes what was said so
    that ``marked``, the same with marks around the answers, is another text."""
    inside, found, plain = False, [], []
    for character in marked:
        if character == ANSWER:
            inside = not inside
        else:
            found.append(inside)
            plain.append(character)
    return found if "".join(plain) == text else [False] * len(text)


def _cut(tokenizer: ChatTokenizer, text: str) -> str:
    for spelling in tokenizer.special_texts:
        if len(spelling) > 1 and spelling in text:
            text = text.replace(spelling, f"{spelling[0]}{CUT}{spelling[1:]}")
    return text


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
