"""The form that an answer must have (structured output, guided decoding), as a plain value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, cast, get_args

from muomni_cli.core.errors import RequestError

FormKind = Literal["choices", "json_schema", "regex", "grammar"]
FORM_KINDS: tuple[str, ...] = get_args(FormKind)
ONE_OF_THEM = f"give one of {', '.join(FORM_KINDS)}, for example {{'choices': ['yes', 'no']}}"


@dataclass(frozen=True, slots=True)
class Form:
    """What every answer must be: one of some texts, JSON of a schema, or a match of a regular expression or grammar.

    Args:
        kind: ``choices``, ``json_schema``, ``regex`` or ``grammar``.
        text: a JSON list of texts; a JSON Schema (draft 2020-12); a regular expression in the syntax of Rust's crate
            ``regex``, which must match the whole answer; or a grammar in llguidance's variant of Lark.

    :func:`muomni_cli.structured_output.grammar.check_form` says whether a form can be used.
    """

    kind: FormKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in FORM_KINDS or not isinstance(self.text, str):
            raise RequestError(f"there is no form of the kind {self.kind!r}", ONE_OF_THEM)

    @classmethod
    def of(cls, value: Self | Mapping[str, Any] | None) -> Self | None:
        """A form from what recipes, manifests and callers write: a mapping with one key, the kind. ``choices`` are a
        list of texts, ``json_schema`` is a mapping or JSON text, the others are texts. None and ``{}`` are no form.

        Raises:
            RequestError: the mapping has other keys, or a value of another type.
        """
        if value is None or isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise RequestError(f"a form is a mapping, not {type(value).__name__}", ONE_OF_THEM)
        if not value:
            return None
        if len(value) > 1 or next(iter(value)) not in FORM_KINDS:
            raise RequestError(f"a form has one key, not {', '.join(map(str, value))}", ONE_OF_THEM)
        ((kind, content),) = value.items()
        if kind == "choices":
            content = _choices(content)
        elif kind == "json_schema" and not isinstance(content, str):
            content = _schema(content)
        if not isinstance(content, str):
            raise RequestError(f"the form's {kind} is not a text but {type(content).__name__}", "write it as a text")
        if any("\ud800" <= character <= "\udfff" for character in content):
            raise RequestError(f"the form's {kind} is not Unicode text", "write it as UTF-8")
        return cls(cast("FormKind", kind), content)

    def plain(self) -> dict[str, Any]:
        """As in recipes and manifests; the inverse of :meth:`of`."""
        return {self.kind: json.loads(self.text) if self.kind == "choices" else self.text}


def _choices(content: Any) -> str:
    if not isinstance(content, list | tuple) or not all(isinstance(choice, str) for choice in content):
        raise RequestError("the form's choices are not a list of texts", "for example choices = ['yes', 'no']")
    if not content or not all(content):
        what = "there is no choice" if not content else "one of the choices is empty"
        raise RequestError(what, "give the texts that the answer may be")
    return json.dumps(list(dict.fromkeys(content)), ensure_ascii=False)


def _schema(content: Any) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"the form's json_schema is not JSON: {error}", "give a JSON Schema") from error
