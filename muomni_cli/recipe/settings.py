"""The host's own settings in a recipe: ``[data]``, ``[train]`` and ``[chat]``. Knows no parts and no files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

_Share = Annotated[float, Field(ge=0, lt=1)]

OWN_INIT = ("trained", "random")
"""What ``train.omni.init`` says where it names no model."""


class Settings(BaseModel):
    """Base of the host's settings: unknown keys are mistakes, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_together(self) -> Any:
        """Report what no single key can be blamed for under the key that is easiest to change."""
        errors: list[InitErrorDetails] = [
            {"type": PydanticCustomError("together", "{message}", {"message": message}), "loc": (key,), "input": None}
            for key, _, message in self.contradictions()
        ]
        if errors:
            raise ValidationError.from_exception_data(type(self).__name__, errors)
        return self

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """A key whose value does not go together with another's, that other key, and why not."""
        return iter(())


class DataSettings(Settings):
    """``[data]``, without its lists of sources."""

    val_fraction: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of documents or examples that is held out, chosen by hash; unset: 20 % of up to 225, "
        "less of more, 1 % of 90,000 and above",
    )
    tokenizer_chars: int = Field(50_000_000, ge=1, description="most characters that the tokenizer learns from")


class TrainSettings(Settings):
    """``[train]`` for every stage; ``[train.<stage>]`` differs from it."""

    steps: int = Field(1000, ge=1, description="optimiser steps")
    batch_size: int = Field(8, ge=1, description="sequences (images, clips) in a step")
    accumulate: int = Field(
        1, ge=1, description="micro-batches that a step is cut into; saves memory, changes no result"
    )
    optimizer: Literal["adamw", "muon"] = Field("adamw", description="muon moves hidden matrices, AdamW the rest")
    lr: float = Field(1e-3, gt=0, description="peak learning rate of AdamW")
    muon_lr: float = Field(0.02, gt=0, description="peak learning rate of Muon")
    lr_scale: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="factors of both rates for parameters whose names begin so; 0 freezes them"
    )
    init: str = Field(
        "trained",
        min_length=1,
        description="what the omni stage begins with: trained (parts from their own stages), random (fresh ones), or "
        "a run or an installed model, whose Thinker, encoders and tokenizer are taken",
    )
    init_encoders: dict[str, str] = Field(
        {}, description="runs or installed models that the omni stage takes single encoders from"
    )
    word_dropout: _Share | dict[str, _Share] = Field(
        0.0,
        description="share of the words of answers about media that joint tuning keeps from the Thinker, which then "
        "cannot guess the next one from them; or by modality: { image = 0.5 }",
    )
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.95), description="AdamW's decay of the first and second moment"
    )
    eps: float = Field(1e-8, gt=0, description="AdamW's epsilon")
    weight_decay: float = Field(0.1, ge=0, description="decoupled; not for norms, biases and tables")
    schedule: Literal["cosine", "wsd", "constant"] = Field("cosine", description="of the learning rate, after warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps in which the learning rate rises")
    min_lr: float = Field(0.1, ge=0, le=1, description="where the schedule ends, as a fraction of the peak")
    decay_fraction: float = Field(0.2, gt=0, le=1, description="fraction of the steps in which wsd falls")
    clip: float = Field(1.0, ge=0, description="largest gradient norm; 0 for any")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights; 0 for none")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of activations; weights stay fp32, and so does all on a CPU without bf16"
    )
    compile: bool = Field(False, description="torch.compile: a slow start, then faster steps")
    checkpoint_activations: bool = Field(False, description="recompute activations: less memory, slower steps")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description='"auto", "cpu", "cuda" or "cuda:1"')
    threads: int = Field(0, ge=0, description="CPU threads; 0 for all cores")
    log_every: int = Field(10, ge=1, description="steps between lines of metrics")
    val_every: int = Field(100, ge=0, description="steps between validations; 0 for none")
    save_every: int = Field(100, ge=0, description="steps between checkpoints; 0 for the last step only")
    sample_every: int = Field(0, ge=0, description="steps between samples; 0 for none")
    val_batches: int = Field(0, ge=0, description="batches of a validation; 0 for all")
    sample_prompts: tuple[str, ...] = Field((), description="what samples go on from")
    sample_tokens: int = Field(96, ge=1, description="length of a sample")

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """A key whose value does not go together with another's, that other key, and why not."""
        if self.batch_size % self.accumulate:
            message = f"{self.accumulate} micro-batches do not divide batch_size {self.batch_size}"
            yield "accumulate", "batch_size", message
        if self.warmup_steps > self.steps:
            message = f"{self.warmup_steps} steps of warm-up are more than all {self.steps} steps"
            yield "warmup_steps", "steps", message


class ChatSettings(Settings):
    """``[chat]``: how the model is meant to be talked to."""

    template: Literal["plain", "roles"] = Field(
        "plain", description="plain: bos and text; roles: a token for each role"
    )
    system: str = Field("", description="a first message that sets the tone")
    temperature: float = Field(0.8, ge=0, description="0 takes the most likely token")
    top_k: int = Field(0, ge=0, description="draw from so many tokens; 0 for all")
    top_p: float = Field(0.95, gt=0, le=1, description="draw from the most likely tokens of this much probability")
    min_p: float = Field(0.0, ge=0, le=1, description="least probability, relative to the most likely token")
    repetition_penalty: float = Field(1.0, gt=0, description="above 1 avoids tokens that were there before")
    max_tokens: int = Field(256, ge=1, description="longest answer")
    stop: tuple[str, ...] = Field((), description="strings that end an answer")
    reattach: tuple[str, ...] = Field(
        ("audio",), description="modalities whose inputs are shown again with each follow-up question"
    )
    loop_guard: bool = Field(True, description="end an answer that repeats 1 to 8 tokens four times in a row")
