"""Settings of the text tokenizers. Imports no numpy and no tokenizers library."""

from __future__ import annotations

from pydantic import Field

from muomni_cli.api import PartConfig


class BPEConfig(PartConfig):
    """Byte-level byte pair encoding."""

    vocab_size: int = Field(
        5000,
        ge=262,
        description="most tokens: 6 special ones, 256 bytes, and merges as far as the text supports them",
    )
    min_frequency: int = Field(2, ge=1, description="fewest occurrences of a pair to be merged")
    single_digits: bool = Field(True, description="one token per digit, so that numbers are split alike")
    max_token_bytes: int = Field(
        32, ge=2, description="longest token in bytes; keeps rows of dashes out of the vocabulary"
    )


class BytesConfig(PartConfig):
    """One token per byte; no settings."""
