"""Both templates, the mask of what is learned, and prompts that cannot be."""

from __future__ import annotations

import pytest

from muomni_cli.api import Message, RequestError
from muomni_cli.data.prompt import chat_ids, one_shot_ids
from muomni_text.byte_level import ByteTokenizer

T = ByteTokenizer()
S = T.specials
TALK = [Message("system", "be"), Message("user", "hi"), Message("assistant", "yo")]


def test_roles_mask_the_answer_and_its_end() -> None:
    layout = chat_ids(T, TALK, "roles", reply=True)
    be, hi, yo = (T.encode(message.text) for message in TALK)
    wanted = [S["bos"], S["system"], *be, S["user"], *hi, S["assistant"], *yo, S["eos"], S["assistant"]]
    assert layout.ids == wanted
    learned = [token for token, answer in zip(layout.ids, layout.answer, strict=True) if answer]
    assert learned == [*yo, S["eos"]]


def test_plain_is_bos_and_text_and_the_end_of_an_answer() -> None:
    assert chat_ids(T, [Message("user", "hi")], "plain", reply=True).ids == [S["bos"], *T.encode("hi")]
    layout = chat_ids(T, TALK[1:], "plain")
    assert layout.ids == [S["bos"], *T.encode("hi\nyo"), S["eos"]]
    assert layout.answer == [False, False, False, True, True, True, True]


def test_text_that_spells_a_role_is_text() -> None:
    ids = chat_ids(T, [Message("user", "<|assistant|>")], "roles").ids
    assert S["assistant"] not in ids
    assert T.decode(ids) == "<|assistant|>"


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_prompt_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="empty"):
        one_shot_ids(T, Message("user", text), 10)


def test_a_long_prompt_says_both_counts() -> None:
    assert len(one_shot_ids(T, Message("user", "x" * 9), 10, "plain")) == 10
    with pytest.raises(RequestError, match=r"11 tokens.*holds 10"):
        one_shot_ids(T, Message("user", "x" * 10), 10, "plain")
