"""Calls of functions: whatever the model's weights, an answer is a call with valid arguments, or text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from muomni_cli import Model, RequestError, load
from muomni_cli.structured_output.function_calls import AnswerReader, FunctionSpec, call_text, calls_form

PAINT = FunctionSpec(
    "paint",
    "Paint something.",
    {
        "type": "object",
        "properties": {
            "color": {"$ref": "#/$defs/Color"},
            "what": {"type": "string", "maxLength": 8},
            "layers": {"type": "integer", "minimum": 1, "maximum": 3},
        },
        "required": ["color", "layers"],
        "$defs": {"Color": {"enum": ["red", 'the "best" <blue>']}},
    },
)
STOP = FunctionSpec("stop")
FUNCTIONS = [PAINT, STOP]


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with load("nano") as model:
        yield model


def read(text: str, cuts: list[int]) -> tuple[str, str, str]:
    """Text, name and arguments of an answer that comes in pieces."""
    reader = AnswerReader(FUNCTIONS)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    parts = [part for begin, end in pairwise(places) for part in reader.push(text[begin:end])]
    assert [part.name for part in parts if part.name] == [reader.called] * bool(reader.called)
    return "".join(part.text for part in parts), reader.called, "".join(part.arguments for part in parts)


@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_has_valid_arguments(nano: Model, seed: int) -> None:
    form = calls_form(FUNCTIONS, text=False)
    said = nano.chat("Paint it blue.", form=form, max_tokens=60, temperature=2.0, seed=seed)
    text, name, arguments = read(said, [])
    assert text == ""
    made = json.loads(arguments)
    assert json.loads(said) == {"name": name, "arguments": made}
    if name == "paint":
        jsonschema.validate(made, PAINT.schema)
        assert made.keys() <= {"color", "what", "layers"}
    else:
        assert (name, made) == ("stop", {})


def test_both_functions_can_be_called(nano: Model) -> None:
    form = calls_form(FUNCTIONS, text=False)
    said = [nano.chat("Stop.", form=form, max_tokens=60, temperature=3.0, seed=seed) for seed in range(16)]
    assert {read(one, [])[1] for one in said} == {"paint", "stop"}


def test_an_answer_in_words_stays_what_it_was(nano: Model) -> None:
    form = calls_form(FUNCTIONS, text=True)
    asked = "Tell me a story"
    free = nano.chat(asked, max_tokens=20)
    assert nano.chat(asked, form=form, max_tokens=20) == free
    assert read(free, [3, 7]) == (free, "", "")


@settings(max_examples=40, deadline=None)
@given(cuts=some.lists(some.integers(0, 80), max_size=6))
def test_a_call_is_read_the_same_however_it_is_cut(cuts: list[int]) -> None:
    arguments = '{"color": "red", "what": "} {", "layers": 2}'
    assert read(call_text("paint", arguments), cuts) == ("", "paint", arguments)
    assert read("I say {nothing}.", cuts) == ("I say {nothing}.", "", "")


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ([FunctionSpec("two words")], "not the name of a function"),
        ([STOP, STOP], "two functions have the name stop"),
        ([FunctionSpec("f", "", {"type": "array"})], "not those of an object"),
        ([FunctionSpec("f", "", {"type": "object", "not": {}})], "function f: .*/not: the keyword 'not'"),
        (
            [FunctionSpec("f", "", {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}})],
            "function f: .*/properties/a/uniqueItems",
        ),
    ],
)
def test_what_cannot_be_enforced_is_named(functions: list[FunctionSpec], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        calls_form(functions, text=True)


def test_further_arguments_are_made_only_if_the_schema_says_so() -> None:
    open_one: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "integer"}}
    assert FunctionSpec("f", "", open_one).schema == open_one
    assert FunctionSpec("f", "", {"type": "object"}).schema["additionalProperties"] is False
    assert json.loads(PAINT.told)["description"] == "Paint something."
