"""Configuration of the text tokenizers; imports neither numpy nor the tokenizers library."""

from __future__ import annotations

from pydantic import Field

from muomni_cli.api import PartConfig


class BPEConfig(PartConfig):
    """Byte-level byte pair encoding."""

    vocab_size: int = Field(
        5000,
        ge=262,
        description="most entries: 6 special tokens, 256 bytes, the rest merges, as far as the text gives them",
    )
    min_frequency: int = Field(2, ge=1, description="a pair seen less often than this is never merged")
    single_digits: bool = Field(True, description="keep every digit a token of its own, so that numbers read alike")
    max_token_bytes: int = Field(32, ge=2, description="longest token; keeps rows of dashes out of the vocabulary")


class BytesConfig(PartConfig):
    """One token a byte: nothing to learn, nothing to set."""
