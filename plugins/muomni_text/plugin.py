"""Tokenizers ``bpe``, ``bytes`` and ``hf``: settings and registration, without a tokenizer library, for listings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from muomni_cli.api import Capability, PartConfig, TokenizerPart, hookimpl


class BPEConfig(PartConfig):
    """Byte-level byte pair encoding."""

    vocab_size: int = Field(
        5000,
        ge=262,
        le=1_000_000,
        description="most tokens: 6 special ones, 256 bytes, and merges as far as the text supports them",
    )
    min_frequency: int = Field(2, ge=1, le=1_000_000, description="fewest occurrences of a pair to be merged")
    pattern: Literal["muomni", "gpt2", "qwen2"] = Field(
        "muomni",
        description="how text is split before merging; gpt2 and qwen2: as those models do, which other programs know",
    )
    single_digits: bool = Field(
        True, description="one token per digit, so that numbers are split alike (always with qwen2)"
    )
    max_token_bytes: int = Field(
        32, ge=2, le=65_536, description="longest token in bytes; keeps rows of dashes out of the vocabulary"
    )


class BytesConfig(PartConfig):
    """One token per byte; no settings."""


class HfConfig(PartConfig):
    """The tokenizer of a checkpoint in Hugging Face's format."""

    training_only: ClassVar[frozenset[str]] = frozenset({"folder"})

    folder: str = Field("", description="folder with tokenizer.json; a run keeps a copy")
    add_tokens: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        (), description="special tokens to add, such as '<|image|>'; the Thinker's table grows by as many rows"
    )


@hookimpl
def register_tokenizers() -> list[TokenizerPart]:
    return [
        TokenizerPart(
            name="bpe",
            doc="byte-level BPE trained on the text; lossless for any string",
            config=BPEConfig,
            build="muomni_text.bpe:load",
            objective="muomni_text.bpe:learn",
            test_config={"vocab_size": 300},
            capabilities={Capability.LOSSLESS, Capability.TRAINABLE},
        ),
        TokenizerPart(
            name="bytes",
            doc="one token per byte; needs no training",
            config=BytesConfig,
            build="muomni_text.byte_level:load",
            objective="muomni_text.byte_level:learn",
            capabilities={Capability.LOSSLESS},
        ),
        TokenizerPart(
            name="hf",
            doc="the tokenizer of a Hugging Face checkpoint, with its chat template",
            config=HfConfig,
            build="muomni_text.hf:load",
            objective="muomni_text.hf:learn",
            test_config={"folder": str(Path(__file__).parent / "test_tokenizer")},
        ),
    ]
