"""Chat settings: the recipe's ``[chat]``, changed by options of a call or by ``/set``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict, cast

from muomni_cli.contract.engine import Engine
from muomni_cli.core.errors import RequestError
from muomni_cli.data.prompt import Template
from muomni_cli.generation.loop import Sampling

if TYPE_CHECKING:
    from muomni_cli.recipe import ChatSettings


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

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise RequestError(f"max_tokens is {self.max_tokens}", "max_tokens must be 1 or more")
        if self.seed < 0:
            raise RequestError(f"seed is {self.seed}", "seed must be 0 or more")


class ChatOptions(TypedDict, total=False):
    """Settings of one question or conversation; unset or None means the default of the model's recipe.

    system: system message. temperature: 0 is greedy. top_k: sample from the k most likely tokens; 0 for all. top_p:
    sample from the fewest tokens with this total probability. min_p: drop tokens less likely than this fraction of the
    most
    likely one. repetition_penalty: above 1 makes repetition less likely. max_tokens: of the answer. stop: end before
    one of
    these texts. seed: random seed; 0 by default. loop_guard: end an answer before an n-gram of 1 to 8 tokens occurs
    four
    times in a row.
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


SAMPLING = tuple(field.name for field in fields(Sampling))


def from_recipe(chat: ChatSettings, seed: int = 0) -> GenerationSettings:
    """The settings of a recipe's ``[chat]``."""
    return GenerationSettings(
        template=chat.template,
        system=chat.system or "",
        sampling=Sampling(**{name: getattr(chat, name) for name in SAMPLING}),
        max_tokens=chat.max_tokens,
        stop=tuple(chat.stop),
        seed=seed,
        loop_guard=chat.loop_guard,
        reattach=tuple(chat.reattach),
    )


def settings_of(engine: Engine, options: ChatOptions) -> GenerationSettings:
    """A model's own settings with ``options``. RequestError for a value out of range."""
    from muomni_cli.recipe.settings import ChatSettings

    return apply(from_recipe(ChatSettings.model_validate(engine.chat)), options)


def apply(settings: GenerationSettings, options: ChatOptions) -> GenerationSettings:
    """``settings`` with ``options``. RequestError for a value out of range."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    drawn = {name: given.pop(name) for name in SAMPLING if name in given}
    if "stop" in given:
        given["stop"] = tuple(given["stop"])
    return replace(settings, sampling=replace(settings.sampling, **drawn), **given)


def set_by_name(settings: GenerationSettings, name: str, value: str) -> GenerationSettings:
    """Change a number or switch by its name and the text that the user typed.

    Raises:
        RequestError: no such setting, or an invalid value.
    """
    kinds: dict[str, Callable[[str], Any]] = {"temperature": float, "top_k": int, "top_p": float, "min_p": float}
    kinds |= {"repetition_penalty": float, "max_tokens": int, "seed": int, "loop_guard": _switch}
    name = name.replace("-", "_")
    if name not in kinds:
        raise RequestError(f"there is no setting {name!r}", f"one of: {', '.join(kinds)}")
    try:
        number = kinds[name](value)
    except ValueError as error:
        wanted = WANTED.get(kinds[name], "a number")
        raise RequestError(f"{name} cannot be {value!r}", f"give {wanted}") from error
    return apply(settings, cast("ChatOptions", {name: number}))


def _switch(word: str) -> bool:
    """ValueError unless the word is on, off, true or false."""
    switches = {"on": True, "true": True, "off": False, "false": False}
    if word.lower() not in switches:
        raise ValueError(word)
    return switches[word.lower()]


WANTED: dict[Callable[[str], Any], str] = {int: "a whole number", _switch: "on or off"}


def describe(settings: GenerationSettings) -> dict[str, object]:
    """Every setting by name, for ``/set`` and for JSON."""
    drawn = {name: getattr(settings.sampling, name) for name in SAMPLING}
    own = {"max_tokens": settings.max_tokens, "seed": settings.seed, "stop": list(settings.stop)}
    return {**drawn, **own, "loop_guard": settings.loop_guard}
