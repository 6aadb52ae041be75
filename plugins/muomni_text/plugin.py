"""Tokenizers ``bpe`` and ``bytes``: settings and registration, without a tokenizer library, for every listing."""

from __future__ import annotations

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
    single_digits: bool = Field(True, description="one token per digit, so that numbers are split alike")
    max_token_bytes: int = Field(
        32, ge=2, le=65_536, description="longest token in bytes; keeps rows of dashes out of the vocabulary"
    )


class BytesConfig(PartConfig):
    """One token per byte; no settings."""


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
    ]
