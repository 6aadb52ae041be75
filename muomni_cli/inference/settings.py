"""Chat settings: the recipe's ``[chat]``, changed by options of a call or by ``/set``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict, cast

from muomni_cli.contract.engine import Engine
from muomni_cli.contract.form import Form
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import Template
from muomni_cli.generation.loop import Sampling, check_limits
from muomni_cli.structured_output.grammar import check_form


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """The recipe's chat settings and a seed; see :class:`muomni_cli.generation.loop.Sampling`."""

    template: Template
    system: str
    sampling: Sampling
    max_tokens: int
    stop: tuple[str, ...]
    seed: int
    loop_guard: bool = True
    reattach: tuple[str, ...] = ("audio",)
    form: Form | None = None

    def __post_init__(self) -> None:
        check_limits(self)


class ChatOptions(TypedDict, total=False):
    """Settings of one question or conversation; unset or None means the default of the model's recipe.

    system: system message. temperature: 0 is greedy. top_k: sample from the k most likely tokens; 0 for all. top_p:
    sample from the fewest tokens with this total probability. min_p: drop tokens less likely than this fraction of the
    most likely one. repetition_penalty: above 1 makes repetition less likely. max_tokens: of the answer. stop: end
    before one of these texts. seed: random seed; 0 by default. loop_guard: end an answer before an n-gram of 1 to 8
    tokens occurs four times in a row. form: what the answer must be, as a :class:`muomni_cli.contract.form.Form` or a
    mapping with one key: ``choices`` (a list of texts), ``json_schema`` (a mapping or JSON text), ``regex`` or
    ``grammar``; ``{}`` for no form.
    """

    system: str | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    max_tokens: int | None
    stop: Sequence[str] | None
    seed: int | None
    loop_guard: bool | None
    form: Form | Mapping[str, Any] | None


class SpeechOptions(TypedDict, total=False):
    """How a text is spoken.

    voice: name of a voice; None for the first. speed: from 0.5 to 2, relative to the voice's own. seed: random seed; 0
    by default. temperature: 0 is greedy; None for the model's default. max_seconds: the speech is truncated there.
    """

    voice: str | None
    speed: float
    seed: int | None
    temperature: float | None
    max_seconds: float


SAMPLING = tuple(field.name for field in fields(Sampling))


def settings_of(engine: Engine, options: ChatOptions) -> GenerationSettings:
    """A model's own settings (``[chat]`` of its recipe) with ``options``. RequestError for a value out of range."""
    from pydantic import ValidationError

    from muomni_cli.recipe.settings import ChatSettings
    from muomni_cli.registry.entries import first_problem

    try:
        chat = ChatSettings.model_validate(engine.chat)
    except ValidationError as error:
        what = f"the chat settings of {engine.label} are damaged: {first_problem(error)}"
        raise RequestError(what, "export or train the model again") from error
    others = chat.model_dump(exclude={*SAMPLING, "form"})
    own = GenerationSettings(**others, sampling=Sampling.of(chat), seed=0, form=Form.of(chat.form))
    return apply(own, options)


def apply(settings: GenerationSettings, options: ChatOptions) -> GenerationSettings:
    """``settings`` with ``options``. RequestError for a value out of range."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    sampling = replace(settings.sampling, **{name: given.pop(name) for name in SAMPLING if name in given})
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    if "form" in given:
        given["form"] = Form.of(given["form"])
        if given["form"] is not None:
            check_form(given["form"])
    return replace(settings, sampling=sampling, **given)


SWITCHES = {"on": True, "true": True, "off": False, "false": False}
KINDS: dict[object, tuple[Callable[[str], Any], str]] = {
    "float": (float, "a number"),
    "int": (int, "a whole number"),
    "bool": (lambda word: SWITCHES[word.lower()], "on or off"),
}
"""How to read a setting from text, and what to type, by its annotation."""


def set_by_name(settings: GenerationSettings, name: str, value: str) -> GenerationSettings:
    """Change a number or switch by its name and the text that the user typed. RequestError if there is no such setting,
    or the value is invalid."""
    known = {field.name: field.type for field in (*fields(Sampling), *fields(settings)) if field.type in KINDS}
    name = name.replace("-", "_")
    if name not in known:
        raise RequestError(f"there is no setting {name!r}", f"one of: {', '.join(known)}")
    read, wanted = KINDS[known[name]]
    try:
        number = read(value)
    except (ValueError, KeyError) as error:
        raise RequestError(f"{name} cannot be {value!r}", f"give {wanted}") from error
    return apply(settings, cast("ChatOptions", {name: number}))


def describe(settings: GenerationSettings) -> dict[str, object]:
    """Every setting by name, for ``/set`` and for JSON."""
    drawn = {name: getattr(settings.sampling, name) for name in SAMPLING}
    own = {"max_tokens": settings.max_tokens, "seed": settings.seed, "stop": list(settings.stop)}
    form = settings.form.plain() if settings.form is not None else None
    return {**drawn, **own, "loop_guard": settings.loop_guard, "form": form}
