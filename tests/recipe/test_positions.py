"""Every key that tomllib sees has a line, and that line is where the key stands."""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator
from typing import Any

import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.recipe.problems import KeyPath, key_lines

names = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=6) | st.sampled_from(
    ["a b", "é", "a.b", 'q"q', "#", "[x]", "="]
)
scalars = (
    st.integers(-5, 5)
    | st.booleans()
    | st.floats(-9, 9)
    | st.sampled_from(["", "x", "# no comment", "two\nlines\n", "]", "}", "a = 1", '"""', "'''", "back\\slash", "[t]"])
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3))
tables = st.dictionaries(
    names, values | st.lists(st.dictionaries(names, values, max_size=3), min_size=1, max_size=3), max_size=5
)


def paths(value: Any, at: KeyPath = ()) -> Iterator[KeyPath]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, member in members:
        yield (*at, step)
        yield from paths(member, (*at, step))


@settings(max_examples=150, deadline=None)
@given(tables)
def test_every_key_has_a_line(document: dict[str, Any]) -> None:
    text = tomlkit.dumps(document)
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


WRITTEN = '''\
# a comment [not.a.table]
title = """
[fake]
x = 1
"""
"quoted key".inner = 'lit # eral'
a.b.c = [ # one
    { d = 1, e = "}" },
    [2, 3],
]

[table]   # here
key = 1979-05-27T07:32:00Z
[[list]]
x = 1
[list.sub]
y = 2
[[list]]
x = {p = {q = [1]}}
'''


def test_lines_of_a_document_written_by_hand() -> None:
    lines = key_lines(WRITTEN)
    assert set(lines) == set(paths(tomllib.loads(WRITTEN)))
    expected: dict[KeyPath, int] = {
        ("title",): 2,
        ("quoted key",): 6,
        ("quoted key", "inner"): 6,
        ("a", "b", "c"): 7,
        ("a", "b", "c", 0): 8,
        ("a", "b", "c", 0, "e"): 8,
        ("a", "b", "c", 1, 1): 9,
        ("table",): 12,
        ("table", "key"): 13,
        ("list",): 14,
        ("list", 0): 14,
        ("list", 0, "x"): 15,
        ("list", 0, "sub", "y"): 17,
        ("list", 1): 18,
        ("list", 1, "x", "p", "q", 0): 19,
    }
    assert {path: lines[path] for path in expected} == expected
