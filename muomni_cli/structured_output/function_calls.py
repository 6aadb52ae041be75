"""Function calling: a form whose answers are one call of a function with valid arguments, or text where allowed.

A call is written as ``{"name": "NAME", "arguments": {...}}``, in training data too. The part before the arguments is
fixed, so that a reader knows the function, and can pass the arguments on, while they are generated.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from muomni_cli.contract.form import Form
from muomni_cli.core.errors import RequestError
from muomni_cli.structured_output.grammar import JSON_OPTIONS, check_form, read_form

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
OPEN_BY = frozenset({"additionalProperties", "allOf", "anyOf", "oneOf", "$ref", "patternProperties"})
"""Keywords that say themselves which further properties an object has."""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """A function that may be called.

    Args:
        name: letters, digits, ``_`` and ``-``; at most 64.
        description: when to call it, for the model.
        parameters: JSON Schema of the arguments, an object. Arguments that are not listed are not generated unless
            ``additionalProperties`` asks for them. None for a function without arguments.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments. RequestError unless it is one of an object."""
        given = dict(self.parameters or {"type": "object"})
        if given.get("type") != "object":
            what = f"the parameters of the function {self.name} are not those of an object"
            raise RequestError(what, 'write {"type": "object", "properties": {...}}')
        return given if given.keys() & OPEN_BY else {**given, "additionalProperties": False}

    @property
    def told(self) -> str:
        """The function on one line of JSON, for the system message."""
        described = {"name": self.name, "description": self.description, "parameters": dict(self.parameters or {})}
        return json.dumps({name: value for name, value in described.items() if value}, ensure_ascii=False)


def opening(name: str) -> str:
    """The text of a call before its arguments."""
    return f'{{"name": "{name}", "arguments": '


def call_text(name: str, arguments: str) -> str:
    """The text of a call; ``arguments`` is JSON."""
    return f"{opening(name)}{arguments}}}"


def calls_form(functions: Sequence[FunctionSpec], *, text: bool) -> Form:
    """The form of an answer that calls one of ``functions``.

    Args:
        functions: at least one, each with a name of its own.
        text: the answer may also be text that does not begin with a brace.

    Raises:
        RequestError: a name is invalid or not unique, or a schema cannot be enforced.
    """
    names = [one.name for one in functions]
    for name in names:
        if not NAME.fullmatch(name):
            raise RequestError(f"{name[:80]!r} is not the name of a function", "use letters, digits, _ and -")
        if names.count(name) > 1:
            raise RequestError(f"two functions have the name {name}", "give each a name of its own")
    rules = []
    for number, one in enumerate(functions):
        schema = one.schema
        try:
            read_form("json_schema", schema)
        except RequestError as error:
            raise RequestError(f"function {one.name}: {error.what}", error.fix) from error
        literal = json.dumps(opening(one.name))
        options = json.dumps({**schema, "x-guidance": dict(JSON_OPTIONS)})
        rules.append(f'call_{number}: {literal} arguments_{number} "}}"\narguments_{number}: %json {options}')
    ways = [f"call_{number}" for number in range(len(functions))]
    if text:
        ways.append("TEXT")
        rules.append(r"TEXT: /[^{](.|\n)*/")
    form = Form("grammar", "\n".join([f"start: {' | '.join(ways)}", *rules, ""]))
    check_form(form)
    return form


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """A piece of an answer that may be a call: ``text`` of an answer in words, or of a call its function's ``name``
    (once, first), then its ``arguments``."""

    text: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class AnswerReader:
    """Reads an answer with a form of :func:`calls_form` while it is generated.

    Args:
        functions: that may be called.
    """

    functions: Sequence[FunctionSpec]
    called: str = field(default="", init=False)
    _words: bool = field(default=False, init=False)
    _held: str = field(default="", init=False)

    def push(self, text: str) -> Iterator[AnswerPart]:
        """What is known after more ``text``. The end of a call is held back: its last brace is not of the arguments."""
        self._held += text
        if not self.called and not self._words:
            yield from self._decide()
        if self._words and self._held:
            yield AnswerPart(text=self._held)
            self._held = ""
        elif self.called and len(self._held) > 1:
            yield AnswerPart(arguments=self._held[:-1])
            self._held = self._held[-1]

    def _decide(self) -> Iterator[AnswerPart]:
        if not self._held:
            return
        if not self._held.startswith("{"):
            self._words = True
            return
        name = next((one.name for one in self.functions if self._held.startswith(opening(one.name))), "")
        if name:
            self.called, self._held = name, self._held[len(opening(name)) :]
            yield AnswerPart(name=name)
