"""The tokenizer ``hf`` splits texts, and its chat template lays out conversations, as transformers does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from muomni_cli.contract.data import FileMedia, Message
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import chat_ids
from muomni_cli.inference.chat_model import Answer
from muomni_cli.inference.history import ChatHistory
from muomni_text.chat_template import ChatTemplate
from muomni_text.hf import HfTokenizer, learn, load
from muomni_text.plugin import HfConfig
from tests.hf.conftest import CHATML, TEXTS, byte_level, sentence_piece, write_tokenizer

LLAMA = {
    "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": None,
    "chat_template": (
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' ' + message['content'] + eos_token }}{% else %}"
        "{{ raise_exception('only users and assistants') }}{% endif %}{% endfor %}"
    ),
}  # fmt: skip
TALK = [Message("user", "Who laid the egg?"), Message("assistant", "The hen did."), Message("user", "And then?")]


@pytest.fixture(params=["byte level", "sentence piece"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "byte level":
        write_tokenizer(tmp_path, byte_level())
    else:
        write_tokenizer(tmp_path, sentence_piece(), **LLAMA)
    return tmp_path


@pytest.fixture
def tokenizer(folder: Path) -> HfTokenizer:
    return learn(HfConfig(folder=str(folder)), iter(()))


def turns(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.text} for message in messages]


def test_texts_are_split_alike(folder: Path, tokenizer: HfTokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert ids == theirs(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
        start = [tokenizer.specials["bos"]] if "bos" in tokenizer.specials else []
        assert [*start, *ids] == theirs(text)["input_ids"]


def test_saved_it_opens_here_and_there(tokenizer: HfTokenizer, tmp_path: Path) -> None:
    place = tmp_path / "saved"
    place.mkdir()
    tokenizer.save(place)
    again = load(HfConfig(), place)
    assert again.vocab_size == tokenizer.vocab_size
    assert dict(again.specials) == dict(tokenizer.specials)
    assert again.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS) == [tokenizer.encode(text) for text in TEXTS]
    assert chat_ids(again, TALK, "own", reply=True) == chat_ids(tokenizer, TALK, "own", reply=True)


def test_conversations_are_laid_out_alike(folder: Path, tokenizer: HfTokenizer) -> None:
    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for talk in (TALK[:1], TALK, TALK[:2]):
        for reply in (False, True):
            expected = theirs.apply_chat_template(turns(talk), add_generation_prompt=reply, return_dict=False)
            assert chat_ids(tokenizer, talk, "own", reply=reply).ids == expected


def test_what_the_assistant_said_is_learned(tokenizer: HfTokenizer) -> None:
    layout = chat_ids(tokenizer, TALK[:2], "own")
    said = [token for token, answer in zip(layout.ids, layout.answer, strict=True) if answer]
    assert said[-1] == tokenizer.specials["eos"]
    assert tokenizer.decode(said).strip() == "The hen did."
    assert not any(chat_ids(tokenizer, TALK[:1], "own", reply=True).answer)


def test_a_text_that_spells_a_special_token_stays_text(tokenizer: HfTokenizer) -> None:
    for spelling in tokenizer.special_texts:
        layout = chat_ids(tokenizer, [Message("user", f"a{spelling}b")], "own")
        plain = chat_ids(tokenizer, [Message("user", "ab")], "own")
        marks = [token for token in layout.ids if tokenizer.token_bytes(token) == b""]
        assert marks == [token for token in plain.ids if tokenizer.token_bytes(token) == b""]
        assert spelling in tokenizer.decode(layout.ids).replace(" ", "")


def test_media_stand_before_the_text_of_their_message(tokenizer: HfTokenizer) -> None:
    one, other = (FileMedia("image", Path(name)) for name in "ab")
    talk = [Message("user", "Look", (one,)), Message("assistant", "An egg."), Message("user", "And this", (other, one))]
    soft = {one: [-1, -2], other: [-3]}
    ids = chat_ids(tokenizer, talk, "own", media_ids=lambda media: soft[media]).ids
    assert [token for token in ids if token < 0] == [-1, -2, -3, -1, -2]
    before = tokenizer.decode([token for token in ids[: ids.index(-1)] if token >= 0])
    assert "Look" not in before


def test_a_session_sees_the_whole_conversation(tokenizer: HfTokenizer) -> None:
    history = ChatHistory(tokenizer, "own", 500)
    picture = FileMedia("image", Path("a"))
    first = Message("user", TALK[0].text, (picture, picture))
    history.ask(first, [-1, -2], 10)
    history.answered(first, [-1, -2], Answer("The hen did.", tokenizer.encode("The hen did."), "eos"))
    ids, dropped = history.ask(TALK[2], [], 10)
    assert dropped == 0
    assert [token for token in ids if token >= 0] != ids
    layout = chat_ids(tokenizer, TALK, "own", reply=True).ids
    assert tokenizer.decode([token for token in ids if token >= 0]).split() == tokenizer.decode(layout).split()


def test_the_template_roles_needs_tokens_for_roles(tokenizer: HfTokenizer) -> None:
    with pytest.raises(RequestError, match="no token for the role user"):
        chat_ids(tokenizer, TALK, "roles")


def test_added_role_tokens_serve_the_template_roles(folder: Path) -> None:
    names = ("<|system|>", "<|user|>", "<|assistant|>")
    tokenizer = learn(HfConfig(folder=str(folder), add_tokens=names), iter(()))
    assert chat_ids(tokenizer, TALK[:1], "roles").ids.count(tokenizer.specials["user"]) == 1


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{% for message in messages %}",
        "{{ raise_exception('no system message, please') }}",
        "{{ range(10 ** 9) | list }}",
    ],
)
def test_a_template_may_not_do_everything(source: str) -> None:
    with pytest.raises(RequestError):
        ChatTemplate(source, {})(turns(TALK), reply=True)


def test_marks_of_generated_text_are_no_error() -> None:
    source = CHATML.replace(
        "{{ '<|im_start|>' + message", "{%- generation -%}{% endgeneration %}{{ '<|im_start|>' + message"
    )
    assert ChatTemplate(source, {})(turns(TALK), reply=True) == ChatTemplate(CHATML, {})(turns(TALK), reply=True)


@pytest.mark.parametrize("damage", ["nothing", "half", "no eos", "word pieces"])
def test_a_tokenizer_that_cannot_be_used_is_refused(damage: str, tmp_path: Path) -> None:
    inner: Any = byte_level()
    write_tokenizer(tmp_path, inner, **({"eos_token": None} if damage == "no eos" else {}))
    path = tmp_path / "tokenizer.json"
    if damage == "nothing":
        path.unlink()
    elif damage == "half":
        path.write_text(path.read_text()[:500])
    elif damage == "word pieces":
        parts = json.loads(path.read_text())
        parts["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": False}
        path.write_text(json.dumps(parts))
    with pytest.raises(RequestError):
        learn(HfConfig(folder=str(tmp_path)), iter(()))


def test_it_needs_a_folder() -> None:
    with pytest.raises(RequestError, match=r"tokenizer\.folder|folder of a checkpoint"):
        learn(HfConfig(), iter(()))
