"""Grammars of commands: what their files may hold, and the sentences that they give."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from muomni_barista import GRAMMAR
from muomni_cli.structured_output.command_grammar import Command, CommandGrammar, parse_grammar, read_grammar, words_of
from tests.commands.conftest import LAMP

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "text" / "barista_slots.json"


def test_toml_and_json_are_the_same_grammar(tmp_path: Path, lamp: CommandGrammar) -> None:
    (tmp_path / "lamp.toml").write_text(tomlkit.dumps(LAMP), "utf-8")
    (tmp_path / "lamp.json").write_text(json.dumps(LAMP), "utf-8")
    assert read_grammar(tmp_path / "lamp.toml") == read_grammar(tmp_path / "lamp.json") == lamp


def test_sentences_say_their_slots_once_and_cover_the_grammar(lamp: CommandGrammar) -> None:
    rng = random.Random(0)
    seen: set[tuple[str, str]] = set()
    intents = set()
    for _ in range(400):
        text, command = lamp.sentence(rng)
        intents.add(command.intent)
        seen |= set(command.slots.items())
        for slot, value in command.slots.items():
            ways = [" ".join(words) for of, words in lamp.ways(slot) if of == value]
            assert any(way in text for way in ways)
    assert intents == {"switch", "dim"}
    assert seen == {(slot, value) for slot, values in LAMP["slots"].items() for value in values}


def test_the_same_seed_gives_the_same_sentences(lamp: CommandGrammar) -> None:
    one, other = ([lamp.sentence(rng) for _ in range(20)] for rng in (random.Random(5), random.Random(5)))
    assert one == other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"intents": {}}, "no intent"),
        ({"intents": {"x": ["{nothing}"]}}, "no slot 'nothing'"),
        ({"intents": {"x": ["<nothing>"]}}, "no phrase 'nothing'"),
        ({"intents": {"x": ["turn [on"]}}, "not closed"),
        ({"intents": {"x": ["turn on]"]}}, "closes nothing"),
        ({"intents": {"x": ["turn (on ] off)"]}}, "not closed"),
        ({"intents": {"x": ["turn {state"]}}, "unmatched"),
        ({"intents": {"a b": ["turn"]}}, "is no name"),
        ({"phrases": {"ask": ["<ask> now"]}}, "holds itself"),
        ({"slots": {"state": ["on", "on"]}}, "more than once"),
        ({"slots": {"state": ["!"]}}, "without words"),
        ({"spoken": {"room": {"cellar": ["basement"]}}}, "no value of"),
        ({"colour": 3}, "colour"),
    ],
)
def test_a_mistake_is_named(change: dict[str, Any], said: str) -> None:
    wrong = copy.deepcopy(LAMP)
    for table, content in change.items():
        wrong[table] = {**wrong[table], **content} if table in ("slots", "phrases") else content
    with pytest.raises(ValueError, match=said) as raised:
        parse_grammar(wrong)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[intents", b"\xff\xfe", b"x" * (1 << 21)])
def test_what_is_no_grammar_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"grammar|intent"):
        read_grammar(path)
    with pytest.raises(ValueError, match="cannot read"):
        read_grammar(tmp_path / "absent.toml")


def test_words_have_no_punctuation() -> None:
    assert words_of("I\N{RIGHT SINGLE QUOTATION MARK}d like 2-for-1, Please!") == [
        "i'd",
        "like",
        "2",
        "for",
        "1",
        "please",
    ]


def test_a_command_is_one_line_of_json() -> None:
    assert Command("switch", {"state": "on"}).json() == '{"intent":"switch","slots":{"state":"on"}}'
    assert Command(None, {}).json() == '{"intent":null,"slots":{}}'


def test_the_slots_of_orders_are_those_of_the_benchmark() -> None:
    if not SHARED.is_file():
        pytest.skip(f"{SHARED} is not there")
    own = read_grammar(GRAMMAR).slots
    assert {slot: sorted(values) for slot, values in own.items()} == {
        slot: sorted(values) for slot, values in json.loads(SHARED.read_text("utf-8")).items()
    }
