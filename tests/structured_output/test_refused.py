"""Forms that cannot be enforced are refused by name and place, in two lines."""

from __future__ import annotations

import json
from typing import Any

import pytest

from muomni_cli import Form, RequestError
from muomni_cli.structured_output.grammar import check_form, read_form


def inside(schema: Any) -> Any:
    """A schema that holds another deep inside, at :data:`PLACE`."""
    return {"type": "object", "properties": {"a/b": {"type": "array", "items": {"anyOf": [{"type": "null"}, schema]}}}}


PLACE = "/properties/a~1b/items/anyOf/1"


@pytest.mark.parametrize(
    ("schema", "pointer", "problem"),
    [
        ({"not": {"type": "string"}}, "/not", "'not' is not supported"),
        ({"type": "array", "uniqueItems": True}, "/uniqueItems", "'uniqueItems' is not supported"),
        ({"contains": {}}, "/contains", "'contains'"),
        ({"if": True, "then": False}, "/if", "'if'"),
        ({"dependentRequired": {"a": ["b"]}}, "/dependentRequired", "'dependentRequired'"),
        ({"propertyNames": {"pattern": "a"}}, "/propertyNames", "'propertyNames'"),
        ({"unevaluatedProperties": False}, "/unevaluatedProperties", "'unevaluatedProperties'"),
        ({"nullable": True}, "/nullable", "'nullable'"),
        ({"maxlength": 3}, "/maxlength", "'maxlength'"),
        ({"x-guidance": {"lenient": True}}, "/x-guidance", "'x-guidance'"),
        ({"$anchor": "a"}, "/$anchor", "'$anchor'"),
        ({"$ref": "other.json"}, "/$ref", "only references such as"),
        ({"exclusiveMinimum": True}, "/exclusiveMinimum", "is true, not a number"),
        ({"items": [{"type": "null"}]}, "/items", "use prefixItems"),
        ({"maxLength": "3"}, "/maxLength", 'is "3", not a whole number'),
        ({"type": 3}, "/type", "is 3, not the name of a type"),
        ({"required": "a"}, "/required", "not a list of names"),
        ({"type": "object", "minProperties": 2}, "/minProperties", "cannot be told apart"),
        ({"type": "string", "pattern": "(?=a)b"}, "", "look-ahead"),
        ({"type": "string", "format": "iban"}, "", "Unknown format: iban"),
        ({"type": "text"}, "", "Invalid type: text"),
        ({"$ref": "#/$defs/missing"}, "", "does not exist"),
        ({"oneOf": [{"type": "string"}, {"type": "string", "maxLength": 3}]}, "", "oneOf"),
        ([1], "", "a schema is an object"),
    ],
    ids=str,
)
def test_a_keyword_that_is_not_supported_is_named_with_its_place(schema: Any, pointer: str, problem: str) -> None:
    for wrapped, place in (
        (inside(schema), PLACE + pointer),
        *([(schema, pointer)] if isinstance(schema, dict) else []),
    ):
        form = Form.of({"json_schema": wrapped})
        assert form is not None
        with pytest.raises(RequestError) as raised:
            check_form(form)
        assert f": {place or '(root)'}: " in raised.value.what
        assert problem in raised.value.what
        assert raised.value.fix
        assert "\n" not in raised.value.what + raised.value.fix


@pytest.mark.parametrize(
    "text",
    ["{", "[]",
     "3", '{"a": 1, "a": 2}', '{"minimum": NaN}', '{"const": Infinity}', '{"items":' * 5000 + "1" + "}" * 5000,
     '{"items":' * 500 + "{}" + "}" * 500, '{"anyOf": []}', '{"properties": []}'],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="the JSON schema cannot be enforced") as raised:
        check_form(Form("json_schema", text))
    assert "\n" not in raised.value.what


def test_bounds_that_nothing_satisfies_are_refused() -> None:
    schema = {"type": "integer", "minimum": 5, "maximum": 3}
    with pytest.raises(RequestError, match=r"\(root\): .*greater than maximum"):
        check_form(Form("json_schema", json.dumps(schema)))
    check_form(Form("json_schema", json.dumps({"anyOf": [schema, {"type": "null"}]})))  # null is left


def test_a_form_of_millions_of_characters_is_refused() -> None:
    for kind in ("json_schema", "regex", "grammar"):
        with pytest.raises(RequestError, match="1,000,001 characters"):
            check_form(Form(kind, "a" * 1_000_001))


@pytest.mark.parametrize("regex", ["(?=a)b", "(?<!a)b", "(a)\\1", "\\bword", "[", "a{3,1}", "(", "*a"])
def test_a_regular_expression_that_is_not_supported_is_refused(regex: str) -> None:
    with pytest.raises(RequestError, match="the regular expression cannot be enforced: ") as raised:
        check_form(Form("regex", regex))
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    "grammar", ["", "start: foo", "start: <|eos|>", 'start: "a" <[3]>', "start: /(?=a)/", "begin: 1"]
)
def test_a_grammar_that_is_not_supported_is_refused(grammar: str) -> None:
    with pytest.raises(RequestError, match="the grammar") as raised:
        check_form(Form("grammar", grammar))
    assert "\n" not in raised.value.what


@pytest.mark.parametrize(
    "value",
    ["yes", {"choice": ["a"]}, {"regex": "a", "choices": ["a"]},
     {"choices": "ab"}, {"choices": []}, {"choices": ["a", ""]},
     {"choices": [1]}, {"regex": 3}, {"grammar": ["a"]}, {"json_schema": {"const": {1, 2}}}, {"regex": "\ud800"}],
    ids=str,
)  # fmt: skip
def test_what_is_no_form_is_refused(value: Any) -> None:
    with pytest.raises(RequestError) as raised:
        Form.of(value)
    assert raised.value.fix


@pytest.mark.parametrize(
    "form",
    [{"choices": ["a", "b"]}, {"json_schema": '{"type":"null"}'}, {"regex": "a+"}, {"grammar": 'start: "a"'}],
    ids=str,
)
def test_a_form_is_a_plain_value(form: dict[str, Any]) -> None:
    made = Form.of(form)
    assert made is not None
    assert made.plain() == form
    assert Form.of(made) is made
    assert hash(made) == hash(Form.of(form))
    assert Form.of(None) is None
    assert Form.of({}) is None


def test_a_file_holds_a_schema_or_a_grammar(tmp_path: Any) -> None:
    (tmp_path / "s.json").write_text('{"type": "null"}')
    (tmp_path / "g.lark").write_text('start: "a"\n')
    assert read_form("json_schema", str(tmp_path / "s.json")) == Form("json_schema", '{"type": "null"}')
    assert read_form("grammar", str(tmp_path / "g.lark")) == Form("grammar", 'start: "a"\n')
    assert read_form("grammar", 'start: "a"') == Form("grammar", 'start: "a"')
    for kind in ("json_schema", "grammar"):
        with pytest.raises(RequestError, match="No such file"):
            read_form(kind, str(tmp_path / "none"))
        with pytest.raises(RequestError):
            read_form(kind, "\0")
