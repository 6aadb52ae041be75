"""JSON Schemas made by chance over what forms support, with bounded lengths; the same seed gives the same schema."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]
WORDS = ["name", "age", "tags", "größe", "a b", "x/y", "on", "kind", "list", "note"]
PATTERNS = [
    "^[a-z]{1,8}$",
    "^\\d{2}-\\d{2}$",
    "^(red|green|blue)$",
    "^[A-Z][a-z]{0,5}( [A-Z][a-z]{0,5}){0,2}$",
    "^#[0-9a-f]{6}$",
]
FORMATS = ["date", "time", "uuid", "ipv4"]
VALUES: list[Any] = [
    "red",
    "blå",
    'say "no"',
    7,
    -2.5,
    1e3,
    True,
    None,
    [],
    [1, "x"],
    {"k": [None]},
    "a\tb\\",
    "\u0001",
]
DEEPEST = 3


def schemas(count: int, seed: int = 0) -> Iterator[Schema]:
    """``count`` schemas; a smaller count gives the first of them."""
    for number in range(count):
        yield _Maker(random.Random(f"{seed}/{number}")).whole()


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.definitions: dict[str, Schema] = {}

    def whole(self) -> Schema:
        schema = self.any(0)
        return schema | {"$defs": self.definitions} if self.definitions else schema

    def any(self, depth: int) -> Schema:
        flat: list[Callable[[int], Schema]] = [
            self.string, self.string, self.integer, self.number, self.simple, self.enum, self.const, self.types,
        ]  # fmt: skip
        nested = [self.object, self.object, self.array, self.tuple, self.map, self.union, self.all_of, self.reference]
        return self.rng.choice(flat + nested * 2 if depth < DEEPEST else flat)(depth)

    def string(self, _: int) -> Schema:
        kind = self.rng.randrange(4)
        if kind == 0:
            return {"type": "string", "pattern": self.rng.choice(PATTERNS)}
        if kind == 1:
            return {"type": "string", "format": self.rng.choice(FORMATS)}
        least = self.rng.randrange(5)
        return {"type": "string", "minLength": least, "maxLength": least + self.rng.randrange(12)}

    def integer(self, _: int) -> Schema:
        least = self.rng.randrange(-1000, 1000)
        kind = self.rng.randrange(3)
        if kind == 0:
            return {"type": "integer", "minimum": 1, "maximum": 60, "multipleOf": self.rng.choice([2, 3, 5])}
        if kind == 1:
            return {"type": "integer", "exclusiveMinimum": least, "exclusiveMaximum": least + self.rng.randrange(2, 99)}
        return {"type": "integer", "minimum": least, "maximum": least + self.rng.randrange(5000)}

    def number(self, _: int) -> Schema:
        least = self.rng.randrange(-50, 50) / 4
        bounds: list[Schema] = [
            {}, {"minimum": least}, {"maximum": least}, {"minimum": least, "maximum": least + self.rng.randrange(9)},
            {"exclusiveMinimum": least, "exclusiveMaximum": least + 1},
        ]  # fmt: skip
        return {"type": "number"} | self.rng.choice(bounds)

    def simple(self, _: int) -> Schema:
        return {"type": self.rng.choice(["boolean", "null"]), "description": "a value"}

    def types(self, _: int) -> Schema:
        return {"type": ["string", "integer", "null"], "maxLength": 6, "minimum": 0, "maximum": 99}

    def enum(self, _: int) -> Schema:
        return {"enum": self.rng.sample(VALUES, self.rng.randrange(1, 5))}

    def const(self, _: int) -> Schema:
        return {"const": self.rng.choice(VALUES)}

    def object(self, depth: int) -> Schema:
        names = self.rng.sample(WORDS, self.rng.randrange(5))
        required = [name for name in names if self.rng.random() < 0.6]
        properties = {name: self.any(depth + 1) for name in names}
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def map(self, depth: int) -> Schema:
        most = {"maxProperties": self.rng.randrange(1, 4)}
        if self.rng.random() < 0.5:
            inner = {"patternProperties": {"^[a-z]{1,4}$": self.any(depth + 1)}, "additionalProperties": False}
        else:
            inner = {"additionalProperties": self.any(depth + 1)}
        return {"type": "object", **inner, **most}

    def array(self, depth: int) -> Schema:
        least = self.rng.randrange(3)
        counts = {"minItems": least, "maxItems": least + self.rng.randrange(4)}
        return {"type": "array", "items": self.any(depth + 1), **counts}

    def tuple(self, depth: int) -> Schema:
        first = [self.any(depth + 1) for _ in range(self.rng.randrange(1, 4))]
        return {"type": "array", "prefixItems": first, "items": False, "minItems": len(first)}

    def union(self, depth: int) -> Schema:
        if self.rng.random() < 0.5:
            return {"oneOf": [self.string(0), self.integer(0), {"type": "null"}]}
        return {"anyOf": [self.any(depth + 1) for _ in range(self.rng.randrange(2, 4))]}

    def all_of(self, _: int) -> Schema:
        return {"type": "string", "allOf": [{"minLength": 2}, {"maxLength": 6}]}

    def reference(self, depth: int) -> Schema:
        """A definition, or a list of nodes of unbounded depth."""
        if self.rng.random() < 0.5:
            node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "value": {"type": "integer"}},
                "required": ["value"], "additionalProperties": False}  # fmt: skip
            self.definitions["node"] = node
            return {"$ref": "#/$defs/node"}
        name = f"d{len(self.definitions)}"
        self.definitions[name] = {}
        self.definitions[name] = self.any(depth + 1)
        return {"$ref": f"#/$defs/{name}"}
