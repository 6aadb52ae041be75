"""Pairs in JSON Lines, Parquet and datasets: the forms in which they come, and what is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import Message, Preference, SpeechPreference
from muomni_datasets.config import PreferencesConfig
from muomni_datasets.formats_config import HuggingFaceConfig
from muomni_datasets.preferences import Preferences, preference_of

HELLO = {"role": "user", "content": "Hello?"}
YES, NO = {"role": "assistant", "content": "Yes."}, {"role": "assistant", "content": "No."}
ASKED = (Message("user", "Hello?"),)


def read(folder: Path, *rows: Any) -> tuple[list[Any], str]:
    path = folder / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    source = Preferences(PreferencesConfig(path=str(path)))
    return list(source.documents()), source.unreadable.get(str(path), "")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hello?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": [HELLO], "chosen": [YES], "rejected": [NO]},
        {"chosen": [HELLO, YES], "rejected": [HELLO, NO]},
        {"prompt": "Hello?", "chosen": [HELLO, YES], "rejected": [HELLO, NO]},
        {"prompt": [HELLO], "chosen": "Yes.", "rejected": [{"from": "gpt", "value": "No."}]},
    ],
)
def test_every_usual_form_gives_the_same_pair(row: dict[str, Any], tmp_path: Path) -> None:
    (pair,), told = read(tmp_path, row)
    assert told == ""
    assert isinstance(pair, Preference)
    assert (pair.prompt, pair.chosen, pair.rejected) == (ASKED, "Yes.", "No.")


def test_pairs_of_one_prompt_share_a_key_unless_the_row_has_one(tmp_path: Path) -> None:
    row = {"prompt": "Hello?", "chosen": "Yes.", "rejected": "No."}
    pairs, _ = read(tmp_path, row, row | {"chosen": "Maybe."}, row | {"key": "mine", "split": "val"})
    assert pairs[0].key == pairs[1].key != pairs[2].key == "mine"
    assert [pair.split for pair in pairs] == [None, None, "val"]


def test_a_conversation_and_a_system_message_come_before_the_answers(tmp_path: Path) -> None:
    earlier = [HELLO, YES, {"role": "user", "content": "Really?"}]
    row = {"system": "Be brief.", "chosen": [*earlier, YES], "rejected": [*earlier, NO]}
    (pair,), _ = read(tmp_path, row)
    assert [message.role for message in pair.prompt] == ["system", "user", "assistant", "user"]


def test_codes_are_pairs_of_speech(tmp_path: Path) -> None:
    row = {"text": "A hen.", "voice": "ann", "chosen": [[1, 2], [3, 4]], "rejected": [[1, 2]]}
    (pair,), _ = read(tmp_path, row)
    assert pair == SpeechPreference(
        "A hen.", ((1, 2), (3, 4)), ((1, 2),), "A hen.", "ann", str(tmp_path / "pairs.jsonl")
    )


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (["a", "b"], "is not an object"),
        ({"prompt": "x", "chosen": "a"}, "has no rejected"),
        ({"prompt": "x", "chosen": "a", "rejected": "a"}, "the same answer"),
        ({"prompt": "x", "chosen": "", "rejected": "a"}, "an empty answer as chosen"),
        ({"prompt": "x", "chosen": "a", "rejected": " \n"}, "an empty answer as rejected"),
        ({"prompt": " ", "chosen": "b", "rejected": "a"}, "has no prompt"),
        ({"chosen": "b", "rejected": "a"}, "has no prompt"),
        ({"prompt": 3, "chosen": "b", "rejected": "a"}, "neither text nor a list of messages"),
        ({"prompt": "x", "chosen": [HELLO], "rejected": [NO]}, "no answer of the assistant at the end of chosen"),
        ({"chosen": [HELLO, YES], "rejected": [NO]}, "different conversations"),
        ({"prompt": "x", "chosen": "b", "rejected": "a", "split": "test"}, "a split that is not"),
        ({"chosen": [[1]], "rejected": [[2]]}, "codes without the text"),
        ({"text": "x", "chosen": [[1]], "rejected": [[1]]}, "the same codes"),
        ({"text": "x", "chosen": [[1], [2, 3]], "rejected": [[1]]}, "no answer of the assistant"),
    ],
)
def test_what_is_no_pair_is_named_by_its_line(row: Any, told: str, tmp_path: Path) -> None:
    found, noted = read(tmp_path, {"prompt": "x", "chosen": "b", "rejected": "a"}, row)
    assert len(found) == 1
    assert noted.startswith("line 2 ")
    assert told in noted


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_is_told_once_with_the_remedy(indent: int | None, tmp_path: Path) -> None:
    rows = [{"prompt": "x", "chosen": "b", "rejected": "a"}] * 3
    (tmp_path / "pairs.json").write_text(json.dumps(rows, indent=indent))
    source = Preferences(PreferencesConfig(path=str(tmp_path / "pairs.json")))
    assert list(source.documents()) == []
    noted = "is one JSON array, which has to be an object a line: jq -c '.[]' ARRAY > LINES"
    assert source.unreadable == {str(tmp_path / "pairs.json"): noted}


def test_parquet_rows_are_pairs(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"chosen": [HELLO, YES], "rejected": [HELLO, NO], "score": 1.0}, {"chosen": None, "rejected": [HELLO, NO]}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    source = Preferences(PreferencesConfig(path=str(tmp_path)))
    (pair,) = source.documents()
    assert (pair.prompt, pair.chosen) == (ASKED, "Yes.")
    assert "row 2 has no chosen" in source.unreadable[str(tmp_path / "a.parquet")]
    assert "cannot be read" in source.unreadable[str(tmp_path / "b.parquet")]


def test_rows_of_a_dataset_are_pairs(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: pip install 'muomni[datasets]'")
    from muomni_datasets.hugging_face import HuggingFace

    rows = [{"prompt": "Hello?", "chosen": [HELLO, YES], "rejected": [HELLO, NO]}] * 2
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    source = HuggingFace(HuggingFaceConfig(path=str(tmp_path / "saved"), preferences=True))
    assert [(pair.prompt, pair.rejected) for pair in source.documents()] == [(ASKED, "No.")] * 2  # type: ignore[union-attr]


def test_surrogates_are_no_text() -> None:
    assert isinstance(preference_of({"prompt": "\ud800", "chosen": "a", "rejected": "b"}, ""), str)
