"""``response_format`` and ``tools`` of a chat request as the form of its answer, and answers that call a function."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from muomni_cli.api import Message, RequestError
from muomni_cli.structured_output.function_calls import AnswerReader, FunctionSpec, calls_form
from muomni_cli.structured_output.grammar import read_form
from muomni_serve.errors import from_failure, invalid
from muomni_serve.requests import ChatRequest, NamedTool, ResponseFormat
from muomni_serve.responses import AnswerMessage, MadeArguments, MadeCall

ANY_OBJECT = {"type": "object"}


@dataclass(frozen=True, slots=True)
class AnswerForm:
    """What an answer must be.

    Args:
        options: of :meth:`muomni_cli.Model.reply`.
        functions: that it may call.
        told: functions that the system message lists; with tool_choice, more than those that may be called.
    """

    options: dict[str, Any] = field(default_factory=dict)
    functions: Sequence[FunctionSpec] = ()
    told: Sequence[FunctionSpec] = ()

    def messages(self, given: list[Message], system: str) -> list[Message]:
        """A conversation whose system message lists the functions; ``system`` is the model's own."""
        if not self.told:
            return given
        own = given[0].text if given[0].role == "system" else system
        lines = [own, "Functions:", *(one.told for one in self.told)]
        rest = given[1:] if given[0].role == "system" else given
        return [Message("system", "\n".join(line for line in lines if line)), *rest]


def answer_form(body: ChatRequest) -> AnswerForm:
    """The form that a request asks for; it is compiled, so this is not for the event loop. ApiError (400) names the
    parameter, and the keyword of a schema, that is not supported."""
    wanted = body.response_format if body.response_format and body.response_format.type != "text" else None
    if body.response_format is not None and (body.response_format.type == "json_schema") != (
        body.response_format.json_schema is not None
    ):
        raise invalid("response_format.json_schema", 'response_format.json_schema is for type "json_schema", with it')
    tools = body.tools or []
    functions = [
        FunctionSpec(one.function.name, one.function.description or "", one.function.parameters) for one in tools
    ]
    chosen = _chosen(body, functions)
    if (wanted or chosen) and "audio" in (body.modalities or ()):
        param = "response_format" if wanted else "tools"
        raise invalid(param, f"an answer that is spoken is text: leave {param} or the modality audio out")
    if wanted and chosen:
        raise invalid(
            "response_format", 'response_format does not go with tools: leave one out, or tool_choice: "none"'
        )
    if wanted:
        return _formatted(wanted)
    if not chosen:
        return AnswerForm(told=functions)
    try:
        form = calls_form(chosen, text=body.tool_choice in (None, "auto"))
    except RequestError as error:
        raise from_failure(error, _blamed(error, functions)) from error
    return AnswerForm({"form": form}, chosen, functions)


def _chosen(body: ChatRequest, functions: Sequence[FunctionSpec]) -> Sequence[FunctionSpec]:
    """The functions that the answer may call."""
    if isinstance(body.tool_choice, NamedTool):
        name = body.tool_choice.function.name
        found = [one for one in functions if one.name == name]
        if not found:
            raise invalid("tool_choice.function.name", f"tool_choice names {name!r}, which is not one of the tools")
        return found
    if body.tool_choice == "required" and not functions:
        raise invalid("tool_choice", 'tool_choice "required" needs tools')
    return () if body.tool_choice == "none" else functions


def _formatted(wanted: ResponseFormat) -> AnswerForm:
    if wanted.json_schema is None:
        return AnswerForm({"form": {"json_schema": ANY_OBJECT}})
    given = wanted.json_schema.schema_
    try:
        return AnswerForm({"form": read_form("json_schema", ANY_OBJECT if given is None else given)})
    except RequestError as error:
        raise from_failure(error, "response_format.json_schema.schema") from error


def _blamed(error: RequestError, functions: Sequence[FunctionSpec]) -> str:
    """The parameter of the function that an error names."""
    for number, one in enumerate(functions):
        if one.name in error.what.split(":")[0].split():
            return f"tools[{number}].function"
    return "tools"


@dataclass(slots=True)
class CallWriter:
    """An answer that may call a function, as the deltas of its stream."""

    reader: AnswerReader
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")

    def deltas(self, text: str) -> list[dict[str, Any]]:
        """What is known after more ``text``."""
        found: list[dict[str, Any]] = []
        for part in self.reader.push(text):
            if part.text:
                found.append({"content": part.text})
            elif part.name:
                function = {"name": part.name, "arguments": ""}
                found.append({"tool_calls": [{"index": 0, "id": self.id, "type": "function", "function": function}]})
            else:
                found.append({"tool_calls": [{"index": 0, "function": {"arguments": part.arguments}}]})
        return found

    def finish(self, reason: str) -> str:
        """OpenAI's ``finish_reason``, which tells of a call unless a limit shaped it."""
        return "tool_calls" if self.reader.called and reason == "stop" else reason


def message_of(form: AnswerForm, text: str) -> AnswerMessage:
    """A whole answer: a call, or text."""
    if not form.functions:
        return AnswerMessage(content=text)
    reader = AnswerReader(form.functions)
    parts = list(reader.push(text))
    if not reader.called:
        return AnswerMessage(content=text)
    made = MadeArguments(name=reader.called, arguments="".join(part.arguments for part in parts))
    return AnswerMessage(content=None, tool_calls=[MadeCall(id=CallWriter(reader).id, function=made)])
