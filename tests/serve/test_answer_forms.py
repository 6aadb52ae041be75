"""Answers of a fixed form and calls of functions, as OpenAI's own client asks for them and reads them."""

from __future__ import annotations

import json
from typing import Any, Literal

import jsonschema
import openai
import pytest
from openai import BadRequestError, OpenAI
from pydantic import BaseModel, ConfigDict, Field

from tests.serve.test_openai_client import ask

COLOR = {"type": "object", "properties": {"color": {"enum": ["red", "blue"]}}, "required": ["color"]}
PAINT: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "paint",
        "description": "Paint something.",
        "parameters": {
            "type": "object",
            "properties": {"color": {"$ref": "#/$defs/C"}, "layers": {"type": "integer", "minimum": 1, "maximum": 3}},
            "required": ["color", "layers"],
            "$defs": {"C": {"enum": ["red", "blue"]}},
        },
    },
}
STOP: dict[str, Any] = {"type": "function", "function": {"name": "stop"}}


class Shape(BaseModel):
    """A shape."""

    model_config = ConfigDict(extra="forbid")

    color: Literal["red", "blue"]
    corners: int = Field(ge=0, le=9)
    name: str = Field(max_length=5)


class Scene(BaseModel):
    """Some shapes."""

    model_config = ConfigDict(extra="forbid")

    shapes: list[Shape] = Field(min_length=1, max_length=2)


class Paint(BaseModel):
    """Paint something."""

    model_config = ConfigDict(extra="forbid")

    color: Literal["red", "blue"]


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def test_pydantic_models_are_answered_whole_and_streamed(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "nano", "messages": ask("What is there?"), "max_completion_tokens": 200}
    made = client.chat.completions.parse(**asked, response_format=Scene).choices[0]
    assert isinstance(made.message.parsed, Scene)
    with client.chat.completions.stream(**asked, response_format=Scene) as stream:
        streamed = stream.get_final_completion().choices[0]
    assert streamed.message.content == made.message.content
    assert streamed.message.parsed == made.message.parsed


def test_the_same_answer_as_without_a_server(client: OpenAI, nano: Any) -> None:
    made = client.chat.completions.create(
        model="nano", messages=ask("Red or blue?"), response_format=schema_format(COLOR), seed=3, temperature=2
    )  # type: ignore[call-overload]
    said = nano.chat("Red or blue?", form={"json_schema": COLOR}, seed=3, temperature=2)
    assert made.choices[0].message.content == said
    jsonschema.validate(json.loads(said), COLOR)


def test_any_object(client: OpenAI) -> None:
    made = client.chat.completions.create(
        model="nano", messages=ask("hello"), response_format={"type": "json_object"}, max_tokens=30
    )
    assert isinstance(json.loads(made.choices[0].message.content or ""), dict)


def test_a_function_is_called_whole_and_streamed(client: OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "nano", "messages": ask("Paint it."), "tools": [PAINT, STOP], "seed": 4, "temperature": 1,
        "tool_choice": {"type": "function", "function": {"name": "paint"}},
    }  # fmt: skip
    (choice,) = client.chat.completions.create(**asked).choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "paint"
    jsonschema.validate(json.loads(call.function.arguments), PAINT["function"]["parameters"])
    with client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0]
    (again,) = streamed.message.tool_calls or []
    assert (again.function.name, again.function.arguments) == (call.function.name, call.function.arguments)
    assert streamed.finish_reason == "tool_calls"
    chunks = list(client.chat.completions.create(**asked, stream=True))
    assert sum(bool(one.delta.tool_calls) for chunk in chunks for one in chunk.choices) > 2  # while it is made


def test_a_function_of_a_pydantic_model(client: OpenAI) -> None:
    made = client.chat.completions.parse(
        model="nano", messages=ask("Paint it."), tools=[openai.pydantic_function_tool(Paint)], tool_choice="required"
    )
    (call,) = made.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Paint)


def test_a_conversation_goes_on_after_a_call(client: OpenAI) -> None:
    asked: list[Any] = ask("What is the weather?")
    tools: Any = [STOP]
    first = client.chat.completions.create(model="nano", messages=asked, tools=tools, tool_choice="required")
    message = first.choices[0].message
    assert message.tool_calls
    asked += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "It rains."}]
    made = client.chat.completions.create(model="nano", messages=asked, tools=tools, max_tokens=20).choices[0]
    assert made.message.content or made.message.tool_calls


def test_words_are_an_answer_too_and_may_be_the_only_one(client: OpenAI) -> None:
    asked: dict[str, Any] = {"model": "nano", "messages": ask("Tell me a story"), "max_tokens": 20, "tools": [STOP]}
    for choice in ("auto", "none"):
        made = client.chat.completions.create(**asked, tool_choice=choice).choices[0]
        streamed = "".join(
            one.delta.content or ""
            for chunk in client.chat.completions.create(**asked, tool_choice=choice, stream=True)
            for one in chunk.choices
        )
        assert streamed == (made.message.content or "")
        assert made.message.content
        assert made.message.tool_calls is None


@pytest.mark.parametrize(
    ("asked", "param", "said"),
    [
        (
            {"response_format": schema_format({"type": "object", "properties": {"a": {"not": {}}}})},
            "response_format.json_schema.schema",
            "/properties/a/not",
        ),
        (
            {"response_format": schema_format({"type": "array", "uniqueItems": True})},
            "response_format.json_schema.schema",
            "uniqueItems",
        ),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "with it"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
        ({"response_format": schema_format({"type": "string", "minLength": 900})}, None, "max_tokens"),
        ({"response_format": {"type": "json_object"}, "tools": [STOP]}, "response_format", "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0].type", "function"),
        ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "tools[0].function.name", "pattern"),
        (
            {
                "tools": [
                    STOP,
                    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "if": {}}}},
                ]
            },
            "tools[1].function",
            "/if",
        ),
        ({"tools": [STOP, STOP]}, "tools[0].function", "two functions"),
        ({"tool_choice": "required"}, "tool_choice", "needs tools"),
        (
            {"tools": [STOP], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice.function.name",
            "not one of the tools",
        ),
        ({"tools": [STOP], "tool_choice": "always"}, "tool_choice", "required"),
        (
            {"tools": [STOP], "modalities": ["text", "audio"], "audio": {"format": "wav"}},
            "tools",
            "spoken",
        ),
        ({"messages": [*ask("x"), {"role": "assistant"}, *ask("y")]}, "messages[1].content", "neither"),
    ],
)
def test_what_cannot_be_enforced_is_named(client: OpenAI, asked: dict[str, Any], param: str | None, said: str) -> None:
    whole: dict[str, Any] = {"model": "nano", "messages": ask("hello"), "max_tokens": 60, "extra_body": asked}
    with pytest.raises(BadRequestError, match=said) as caught:
        client.chat.completions.create(**whole)
    assert caught.value.param == param
