"""A form as a grammar of llguidance, and what is wrong with forms that cannot be enforced."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from muomni_cli.contract.form import Form
from muomni_cli.core.errors import RequestError
from muomni_cli.structured_output.json_schema import CHANGE, SchemaError, read_schema, subschemas

MOST_CHARACTERS = 1_000_000


def _find(path: str) -> Path:
    return Path(path).expanduser()


LITERALS = re.compile(r'"(?:\\.|[^"\\])*"|/(?:\\.|[^/\\\n])+/|//[^\n]*|#[^\n]*')  # of Lark, and its comments
LOOKAROUND = "look-around, including look-ahead and look-behind, is not supported"


# One line with at most one space after a comma or colon: white space could go on for ever. What is not supported is an
# error.
JSON_OPTIONS: Mapping[str, Any] = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
    "coerce_one_of": False,
    "lenient": False,
}


@lru_cache(maxsize=64)
def grammar_of(form: Form) -> str:
    """The grammar of a form, for ``llguidance.LLMatcher``.

    Raises:
        RequestError: the form cannot be enforced; a :class:`SchemaError` names the keyword and where it stands.
    """
    from llguidance import LLMatcher

    if len(form.text) > MOST_CHARACTERS:
        raise RequestError(f"the form has {len(form.text):,} characters", f"give at most {MOST_CHARACTERS:,}")
    if form.kind == "json_schema":
        return _of_schema(read_schema(form.text))
    if form.kind == "choices":
        words = json.loads(form.text)
        return LLMatcher.grammar_from_regex("|".join(f"(?:{_literally(word)})" for word in words))
    if form.kind == "grammar":
        if "<" in LITERALS.sub("", form.text):
            raise RequestError("the grammar names special tokens (<...>)", "use texts and regular expressions")
        grammar = LLMatcher.grammar_from_lark(form.text)
    else:
        grammar = LLMatcher.grammar_from_regex(form.text)
    if problem := _problem(grammar):
        what = "regular expression" if form.kind == "regex" else "grammar"
        raise RequestError(f"the {what} cannot be enforced: {_short(problem)}", _fix(form.kind))
    return grammar


def check_form(form: Form) -> None:
    """RequestError if a form cannot be enforced."""
    grammar_of(form)


def read_form(kind: str, content: Any, find: Callable[[str], Path] = _find) -> Form | None:
    """A form as recipes and command lines write it: a ``json_schema`` or ``grammar`` may be the path of a file.

    Args:
        kind: see :class:`muomni_cli.contract.form.Form`.
        content: the form or, as a text, the path.
        find: expands a path.

    Raises:
        RequestError: the file cannot be read, or the form cannot be enforced.
    """
    if isinstance(content, str) and _names_file(kind, content):
        try:
            content = find(content).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not a text file in UTF-8"
            wanted = "JSON that begins with {" if kind == "json_schema" else "a grammar: start: ..."
            raise RequestError(f"{kind}: {content[:200]!r}: {reason}", f"give a file, or {wanted}") from error
    form = Form.of({kind: content})
    if form is not None:
        check_form(form)
    return form


def _names_file(kind: str, text: str) -> bool:
    """Whether a text is a path: a schema begins with a brace, and in a grammar ``start:`` begins a line."""
    if kind == "json_schema":
        return not text.lstrip().startswith("{")
    return kind == "grammar" and re.search(r"^\s*start\s*:", text, re.MULTILINE) is None


def _of_schema(schema: dict[str, Any]) -> str:
    from llguidance import LLMatcher

    def compiled(schema: dict[str, Any]) -> str:
        return LLMatcher.grammar_from_json_schema(schema, overrides=cast("Any", dict(JSON_OPTIONS)))

    grammar = compiled(schema)
    problem = _problem(grammar)
    if problem is None:
        return grammar
    for pointer, one in reversed(list(subschemas(schema))):  # the innermost schema that has the same problem
        if not isinstance(one, dict) or not pointer:
            continue
        definitions: dict[str, Any] = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
        if _problem(compiled(definitions | one)) == problem:
            raise SchemaError(pointer, _short(problem), CHANGE)
    raise SchemaError("", _short(problem), CHANGE)


def _problem(grammar: str) -> str | None:
    """What is wrong with a grammar; None if it can be used."""
    from llguidance import LLMatcher

    wrong, messages = LLMatcher.validate_grammar_with_warnings(grammar)
    return messages[0] if wrong or messages else None


def _short(problem: str) -> str:
    """llguidance's message on one line, without the text around the place."""
    if LOOKAROUND in problem:
        return "look-ahead and look-behind are not supported"
    lines = [line.strip() for line in problem.splitlines()]
    last = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (last or lines)[0][:200].rstrip(".")


def _fix(kind: str) -> str:
    if kind == "regex":
        return "write it without look-around, back-references and word boundaries"
    return "see docs/structured-output.md for the syntax of grammars"


def _literally(text: str) -> str:
    """A regular expression that matches ``text`` alone."""
    return "".join(char if char.isalnum() or ord(char) > 127 else f"\\x{{{ord(char):x}}}" for char in text)
