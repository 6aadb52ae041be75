"""Which JSON Schemas (draft 2020-12) can be enforced: every keyword that cannot is reported with its JSON pointer.

llguidance ignores keywords that it does not know and reads a few of older drafts in its own way. A keyword that is
ignored makes answers that break the schema, so this module refuses all keywords except those that are enforced and
those that only describe.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from muomni_cli.core.errors import RequestError

MOST_CHARACTERS = 1_000_000
DEEPEST = 100  # nested schemas

ONE = frozenset({"items", "additionalProperties"})  # whose value is a schema
MANY = frozenset({"prefixItems", "anyOf", "oneOf", "allOf"})  # a list of schemas
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions"})  # schemas by name
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
TEXTS = frozenset({"pattern", "format", "$ref"})
ENFORCED = ONE | MANY | NAMED | COUNTS | BOUNDS | TEXTS | {"type", "enum", "const", "required"}
DESCRIBES = frozenset(
    {"$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
     "contentEncoding", "contentMediaType"}
)  # fmt: skip

INSTEAD = {
    "not": "list what is allowed, with enum or anyOf",
    "additionalItems": "use prefixItems and items",
    "dependencies": "use anyOf with the combinations that are allowed",
    "dependentRequired": "use anyOf with the combinations that are allowed",
    "dependentSchemas": "use anyOf with the combinations that are allowed",
    "if": "use anyOf with one schema for each case",
    "then": "use anyOf with one schema for each case",
    "else": "use anyOf with one schema for each case",
    "nullable": 'use "type": [..., "null"]',
    "x-guidance": "leave it out",
}
"""What to write instead of keywords that cannot be enforced."""


class SchemaError(RequestError):
    """A schema cannot be enforced."""

    def __init__(self, pointer: str, problem: str, fix: str = "") -> None:
        super().__init__(f"the JSON schema cannot be enforced: {pointer or '(root)'}: {problem}", fix or CHANGE)


CHANGE = "change that part of the schema; docs/structured-output.md lists what is supported"


def read_schema(text: str) -> dict[str, Any]:
    """A JSON Schema of which every keyword is known and has a value of the right type.

    Raises:
        SchemaError: it is too large, not JSON, not an object, or has a keyword that cannot be enforced.
    """
    if len(text) > MOST_CHARACTERS:
        raise SchemaError("", f"{len(text):,} characters are more than {MOST_CHARACTERS:,}")
    try:
        schema = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SchemaError("", f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        problem = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise SchemaError("", problem) from error
    if not isinstance(schema, dict):
        raise SchemaError("", f"a schema is an object, not {shown(schema)}", 'for example {"type": "integer"}')
    for pointer, one in subschemas(schema):
        _check(one, pointer)
    return schema


def subschemas(schema: Any, pointer: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All schemas inside ``schema`` and itself, each with its JSON pointer (RFC 6901); outer ones come first."""
    if depth > DEEPEST:
        raise SchemaError(pointer, f"nested more than {DEEPEST} deep")
    yield pointer, schema
    if not isinstance(schema, dict):
        return
    for keyword, value in schema.items():
        at = f"{pointer}/{keyword}"
        inner: list[tuple[str, Any]] = []
        if keyword in ONE:
            inner = [(at, value)]
        elif keyword in MANY and isinstance(value, list):
            inner = [(f"{at}/{place}", member) for place, member in enumerate(value)]
        elif keyword in NAMED and isinstance(value, dict):
            inner = [(f"{at}/{name.replace('~', '~0').replace('/', '~1')}", one) for name, one in value.items()]
        for where, one in inner:
            yield from subschemas(one, where, depth + 1)


def shown(value: Any) -> str:
    """A value for a message, on one line and short."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {shown(twice)} twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _check(schema: Any, pointer: str) -> None:
    """SchemaError for the first keyword of one schema that cannot be enforced."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise SchemaError(pointer, f"a schema is an object or a boolean, not {shown(schema)}")
    for keyword, value in schema.items():
        at = f"{pointer}/{keyword}"
        known = keyword in ENFORCED or keyword in DESCRIBES
        if keyword == "$id" and not pointer:
            continue
        if keyword == "x-guidance" or not (known or keyword.startswith("x-")):
            raise SchemaError(at, f"the keyword {keyword!r} is not supported", INSTEAD.get(keyword, ""))
        if problem := _problem(keyword, value):
            raise SchemaError(at, problem)
    least = schema.get("minProperties", 0)
    if least > len(set(schema.get("required", ()))) + 1:  # names that are not listed may be said twice
        problem = f"{least} properties cannot be told apart by name"
        raise SchemaError(f"{pointer}/minProperties", problem, 'name them: "properties" and "required"')


def _problem(keyword: str, value: Any) -> str | None:
    """What is wrong with the value of a keyword, by its type alone."""
    if keyword in COUNTS and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        return f"is {shown(value)}, not a whole number from 0 on"
    if keyword in BOUNDS and (not isinstance(value, int | float) or isinstance(value, bool)):
        return f"is {shown(value)}, not a number"
    if keyword in TEXTS and not isinstance(value, str):
        return f"is {shown(value)}, not a text"
    if keyword == "$ref" and not re.fullmatch(r"#(/.*)?", value, re.DOTALL):
        return f"refers to {shown(value)}; only references such as #/$defs/NAME are followed"
    if keyword in NAMED and not isinstance(value, dict):
        return f"is {shown(value)}, not an object"
    if keyword == "items" and isinstance(value, list):
        return "is a list, as in older drafts; use prefixItems"
    if keyword in MANY and not (isinstance(value, list) and value):
        return f"is {shown(value)}, not a list of schemas"
    texts = isinstance(value, list) and all(isinstance(name, str) for name in value)
    if keyword == "required" and not texts:
        return f"is {shown(value)}, not a list of names"
    if keyword == "type" and not (isinstance(value, str) or texts):
        return f"is {shown(value)}, not the name of a type or a list of them"
    if keyword == "enum" and not (isinstance(value, list) and value):
        return f"is {shown(value)}, not a list of values"
    return None
