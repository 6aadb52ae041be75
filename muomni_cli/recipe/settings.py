"""The host's settings in a recipe: ``[data]`` and ``[chat]``. Those of ``[train]`` are in
:mod:`muomni_cli.recipe.train_settings`: to answer, a model needs none of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from muomni_cli.contract.form import Form
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.sets import expand_path
from muomni_cli.structured_output.grammar import check_form, read_form


class Settings(BaseModel):
    """Base of the host's settings. Unknown keys are errors; values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_together(self) -> Any:
        """Report contradictions between keys under the key that is easier to change."""
        errors: list[InitErrorDetails] = [
            {"type": PydanticCustomError("together", "{message}", {"message": message}), "loc": (key,), "input": None}
            for key, _, message in self.contradictions()
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """(key, other key, reason) for values that contradict each other."""
        return iter(())


class DataSettings(Settings):
    """``[data]`` without its lists of sources."""

    val_fraction: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="fraction of documents or examples held out, by hash; unset: 20 % of up to 225, less of more, "
        "1 % of 90,000 and above",
    )
    tokenizer_chars: int = Field(
        50_000_000, ge=1, le=10**12, description="maximum characters to train the tokenizer on"
    )


class ChatSettings(Settings):
    """``[chat]``: default inference settings."""

    template: Literal["plain", "roles", "own"] = Field(
        "plain", description="plain: bos and text; roles: a token per role; own: the tokenizer's chat template"
    )
    system: str = Field("", description="system message")
    temperature: float = Field(0.8, ge=0, le=1e3, description="0 is greedy")
    top_k: int = Field(0, ge=0, le=1_000_000, description="sample from the k most likely tokens; 0 for all")
    top_p: float = Field(0.95, gt=0, le=1, description="sample from the most likely tokens with this total probability")
    min_p: float = Field(0.0, ge=0, le=1, description="minimum probability, relative to the most likely token")
    repetition_penalty: float = Field(1.0, gt=0, le=1e3, description="above 1 discourages tokens that occurred before")
    max_tokens: int = Field(256, ge=1, le=1_000_000, description="maximum length of an answer")
    stop: tuple[str, ...] = Field((), description="strings that end an answer")
    reattach: tuple[str, ...] = Field(
        ("audio",), description="modalities whose inputs are attached again to each follow-up question"
    )
    loop_guard: bool = Field(True, description="end an answer that repeats 1 to 8 tokens four times in a row")
    form: dict[str, str | list[str]] = Field(
        {},
        description="what every answer must be, one of: choices (list of texts), json_schema (file or JSON), regex, "
        "grammar (file or Lark)",
    )

    @field_validator("form", mode="before")
    @classmethod
    def _read_form(cls, value: Any, info: ValidationInfo) -> Any:
        """The form, checked. In a recipe the content of its file takes the file's place, so that a model carries it;
        manifests name no files."""
        if not isinstance(value, dict) or not value:
            return value
        try:
            if len(value) == 1 and info.context:
                ((kind, content),) = value.items()
                form = read_form(kind, content, expand_path)
            else:
                form = Form.of(value)
            if form is not None:
                check_form(form)
        except RequestError as error:
            raise PydanticCustomError("form", "{message}", {"message": f"{error.what}; {error.fix}"}) from error
        return {} if form is None else form.plain()
