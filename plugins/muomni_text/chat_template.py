"""A chat template in Jinja, as tokenizers of Hugging Face checkpoints bring it: a conversation to text.

Templates come with the files of strangers, so they run in Jinja's sandbox, without access to files or Python's
attributes, and within a limit of length.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from muomni_cli.api import RequestError

LONGEST = 1 << 18  # characters of a template
CHANGE = 'choose another layout: chat.template="plain"'


class ChatTemplate:
    """The template ``source``; ``tokens``: what it may name, such as ``eos_token``."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        self.source, self._tokens = source, dict(tokens)

    @cached_property
    def _compiled(self) -> Any:
        if len(self.source) > LONGEST:
            raise RequestError(f"the chat template has {len(self.source):,} characters", CHANGE)
        try:
            import jinja2.ext
            from jinja2.sandbox import ImmutableSandboxedEnvironment
        except ImportError as error:
            raise RequestError(
                "this model's chat template needs jinja2, which is not installed", "pip install 'muomni[hf]'"
            ) from error

        def fail(message: str) -> None:
            raise jinja2.TemplateError(message)

        def as_json(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
            return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols]
        )
        environment.filters["tojson"] = as_json
        environment.globals |= {"raise_exception": fail, "strftime_now": lambda form: datetime.now().strftime(form)}
        try:
            return environment.from_string(_without_generation(self.source))
        except jinja2.TemplateError as error:
            raise RequestError(f"the chat template is broken: {error}", CHANGE) from error

    def __call__(self, messages: Sequence[Mapping[str, str]], *, reply: bool) -> str:
        """The text of a conversation. ``reply``: end with the opening of the assistant's turn.

        Raises:
            RequestError: the template does not take this conversation, or does what it may not.
        """
        template = self._compiled
        import jinja2

        try:
            text: str = template.render(messages=list(messages), add_generation_prompt=reply, **self._tokens)
        except (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError, MemoryError) as error:
            raise RequestError(f"the chat template refuses this conversation: {error}", CHANGE) from error
        return text


def _without_generation(source: str) -> str:
    """Without the marks of generated text, which are no statement of Jinja."""
    source = re.sub(r"\{%(-?)\s*generation\s*(-?)%\}", r"{%\1 if true \2%}", source)
    return re.sub(r"\{%(-?)\s*endgeneration\s*(-?)%\}", r"{%\1 endif \2%}", source)
