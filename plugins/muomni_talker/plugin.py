"""The Talkers ``cursor`` and ``parallel``: settings and registration, without torch, for every listing."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from muomni_cli.api import Depth, Factor, LossWeight, PartConfig, TalkerPart, Width, hookimpl

SMALL = {  # for conformance checks
    **{"d_text": 24, "text_layers": 2, "text_kernel": 3, "max_duration": 6, "ctx_len": 128},
    **{"d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 48},
}


class TalkerBaseConfig(PartConfig):
    """Settings shared by all Talkers: text encoder, durations, and transformer blocks."""

    training_only: ClassVar[frozenset[str]] = frozenset(
        {"dropout", "input_noise", "history_dropout", "duration_weight", "hidden_state_dropout", "text_dropout"}
    )

    d_text: Width = Field(160, description="width of the characters' features")
    text_layers: Depth = Field(5, description="convolutions over the characters")
    text_kernel: int = Field(5, ge=3, le=15, description="characters that one convolution sees (odd)")
    subframes: Depth = Field(4, description="slots per frame, the resolution of durations")
    max_duration: Depth = Field(60, description="longest duration of one character, in slots")
    d_model: Width = Field(224, description="width D of the frames' states")
    n_layers: Depth = Field(4, description="transformer blocks over the frames")
    n_heads: Depth = Field(4, description="attention heads; each is d_model / n_heads wide")
    d_ff: Width = Field(448, description="width of the blocks' hidden layer")
    ctx_len: Width = Field(1024, description="maximum number of frames of one sentence")
    rope_theta: Factor = Field(10000.0, description="base of the rotary wavelengths")
    norm_eps: Factor = Field(1e-5, description="added to the mean square inside RMSNorm")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of each branch's output dropped in training")
    duration_weight: LossWeight = Field(0.5, description="weight of the duration loss")
    hidden_state_dropout: float = Field(
        0.3, ge=0, le=1, description="share of sentences trained without the Thinker's states"
    )
    text_dropout: float = Field(0.02, ge=0, le=1, description="share of sentences trained without their text")

    @property
    def kv_heads(self) -> int:
        return self.n_heads

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def qk_norm(self) -> bool:
        """Always on: more stable at high learning rates."""
        return True

    @property
    def reach(self) -> int:
        """Characters on either side that a character's features depend on."""
        return self.text_layers * (self.text_kernel // 2)

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.d_model % (2 * self.n_heads):
            raise ValueError(f"d_model {self.d_model} cannot be split into n_heads {self.n_heads} heads of even width")
        if self.text_kernel % 2 == 0:
            raise ValueError(f"text_kernel {self.text_kernel} must be odd")
        return self


class CursorConfig(TalkerBaseConfig):
    """The autoregressive Talker."""

    input_noise: float = Field(
        0.15, ge=0, le=1, description="share of the previous frames that training replaces by random ones"
    )
    history_dropout: float = Field(0.1, ge=0, le=1, description="share of sentences trained without previous frames")


class ParallelConfig(TalkerBaseConfig):
    """The Talker that generates all frames of a sentence at once."""


@hookimpl
def register_talkers() -> list[TalkerPart]:
    return [
        TalkerPart(
            name="cursor",
            doc="autoregressive transformer over code frames with monotonic text alignment",
            config=CursorConfig,
            build="muomni_talker.model:build",
            graphs="muomni_talker.graphs:graphs",
            runner="muomni_talker.synthesis:TalkerRunner",
            test_config=SMALL,
            steps="muomni_talker.graphs:steps",
            objective="muomni_talker.objective:TalkerObjective",
            policy="muomni_talker.preference:TalkerPolicy",
        ),
        TalkerPart(
            name="parallel",
            doc="non-autoregressive transformer with the same text encoder; all frames of a sentence at once",
            config=ParallelConfig,
            build="muomni_talker.model:build_parallel",
            graphs="muomni_talker.graphs:graphs",
            runner="muomni_talker.synthesis:TalkerRunner",
            test_config=SMALL,
            steps="muomni_talker.graphs:steps",
            objective="muomni_talker.objective:TalkerObjective",
            policy="muomni_talker.preference:TalkerPolicy",
        ),
    ]
