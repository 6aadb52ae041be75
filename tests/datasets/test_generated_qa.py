"""Questions about the examples of other sources: facts come from the right examples, and sides are never mixed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from muomni_cli.api import Conversation, RequestError
from muomni_cli.data.split import split_of_key
from muomni_datasets.generated_qa import GeneratedQuestions, facts_of
from muomni_datasets.questions_config import GeneratedQuestionsConfig
from muomni_datasets.scenes import SceneMedia

MakeTar = Callable[..., Path]
SCENES = {"use": "scenes", "count": 200, "objects": [1, 2]}


@pytest.fixture
def voices(make_tar: MakeTar) -> dict[str, Any]:
    names = [f"{digit}_{who}_{take}.wav" for digit in range(3) for who in ("ann", "bob", "cem") for take in range(2)]
    path = make_tar("voices.tar", dict.fromkeys(names, b"x"))
    return {
        "use": "tar", "path": str(path), "name": r"^(?P<label>\d)_(?P<key>[a-z]+)_", "holdout": ["^cem$"],
        "names": {"0": "zero"},
    }  # fmt: skip


def asked(ask: list[dict[str, Any]], sources: dict[str, Any], **config: Any) -> GeneratedQuestions:
    return GeneratedQuestions(GeneratedQuestionsConfig.model_validate({"from": sources, "ask": ask, **config}))


BOTH = [
    {"question": ["What digit do you hear?", "Which number is spoken?"], "answer": "{audio.label}"},
    {
        "question": ["What colour is the {image.some_shape}?"],
        "answer": "{image.colour_of_some_shape}",
        "media": ["image"],
    },
    {"question": ["What is left?"], "answer": "{image.left}", "weight": 2.0},
]


def test_answers_are_facts_of_what_is_shown(voices: dict[str, Any]) -> None:
    source = asked(BOTH, {"image": SCENES, "audio": voices}, count=400, val_count=50, val_fraction=0.2)
    conversations = list(source.documents())
    assert source.unreadable == {}
    assert Counter(example.split for example in conversations) == {"train": 400, "val": 50}
    assert conversations == list(source.documents())
    for example in conversations:
        user, assistant = example.messages
        picture = next((media for media in user.media if isinstance(media, SceneMedia)), None)
        assert picture is not None
        match user.text:
            case "What is left?":
                assert assistant.text == picture.facts["left"]
                assert example.about == ("image",)
            case "What digit do you hear?" | "Which number is spoken?":
                assert example.about == ("audio",)
                assert user.media[1].name.startswith({"zero": "0"}.get(assistant.text, assistant.text))
            case _:
                assert picture.facts["some_shape"] in user.text
                assert assistant.text == picture.facts["colour_of_some_shape"]
                assert len(user.media) == 1
    ways = Counter(example.messages[0].text for example in conversations)
    assert ways["What is left?"] == pytest.approx(225, abs=50)
    assert ways["What digit do you hear?"] > 20 < ways["Which number is spoken?"]


def test_no_key_is_on_both_sides(voices: dict[str, Any]) -> None:
    source = asked(BOTH[:1], {"image": SCENES, "audio": voices}, count=500, val_count=200, val_fraction=0.3)
    keys = defaultdict(set)
    for example in source.documents():
        for key in example.key.split("|"):
            keys[example.split].add(key)
    assert not keys["train"] & keys["val"]
    assert {"ann", "bob"} <= keys["train"]
    assert "cem" in keys["val"]
    for split, found in keys.items():
        assert {split_of_key(key, 0.3) for key in found if key.startswith("scene")} == {split}


def test_more_conversations_never_change_the_first(voices: dict[str, Any]) -> None:
    few, many = (
        [
            example.messages
            for example in asked(BOTH, {"image": SCENES, "audio": voices}, count=count, val_count=9).documents()
        ]
        for count in (20, 60)
    )
    assert few[:20] == many[:20]
    other = [
        example.messages
        for example in asked(BOTH, {"image": SCENES, "audio": voices}, count=20, seed=1, val_count=0).documents()
    ]
    assert few[:20] != other[:20]


def test_a_side_without_examples_and_facts_that_nobody_has_are_told(voices: dict[str, Any]) -> None:
    voices = voices | {"holdout": []}
    source = asked(BOTH[:1], {"image": SCENES | {"split": "train"}, "audio": voices}, count=5, val_count=5)
    assert len(list(source.documents())) == 5
    assert "image" in source.unreadable["asked for val"]
    lost = asked([{"question": ["Who?"], "answer": "{image.speaker}"}], {"image": SCENES}, count=2, val_count=0)
    assert list(lost.documents()) == []
    assert "image.speaker" in lost.unreadable["Who?"]


def test_files_and_what_is_unreadable_are_those_of_the_sources(voices: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "voices.tar").write_bytes((tmp_path / "voices.tar").read_bytes()[:-9000])
    source = asked(BOTH[:1], {"image": SCENES, "audio": voices}, count=3, val_count=0)
    assert source.files() == [tmp_path / "voices.tar"]
    assert len(list(source.documents())) == 3
    assert str(tmp_path / "voices.tar") in source.unreadable


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"question": ["Who?"], "answer": "{sound.label}"}, "refers to sound.label"),
        ({"question": ["Who?"], "answer": "{image.label}", "media": ["picture"]}, "picture"),
        ({"question": [], "answer": "x"}, "needs a question"),
        ({"question": ["Who?"], "answer": "{image.label"}, "brace"),
        ({"question": ["Who?"], "answer": "x", "wieght": 1}, "wieght"),
    ],
)
def test_mistakes(ask: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        asked([ask], {"image": SCENES})


def test_other_mistakes() -> None:
    with pytest.raises(ValidationError, match="gives conversations"):
        asked([], {"image": {"use": "scenes", "give": "questions"}})
    with pytest.raises(ValidationError, match="tales"):
        asked([], {"image": {"use": "tales"}})
    with pytest.raises(RequestError, match="nothing to ask"):
        list(asked([], {"image": SCENES}).documents())


def test_facts_of_an_example_whose_media_tell_none(voices: dict[str, Any]) -> None:
    (example, *_) = asked([], {"audio": voices})._sources["audio"].documents()
    assert not isinstance(example, Conversation)
    assert facts_of(example) == {"text": "zero", "label": "zero", "key": "ann"}  # type: ignore[arg-type]
