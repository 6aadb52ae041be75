"""Tokenizers of text: byte-level BPE and plain bytes. They are imported when they are built."""

from __future__ import annotations

from muomni_cli.api import Capability, TokenizerPart, hookimpl
from muomni_text.config import BPEConfig, BytesConfig


@hookimpl
def register_tokenizers() -> list[TokenizerPart]:
    """Byte-level BPE and plain bytes."""
    return [
        TokenizerPart(
            name="bpe",
            doc="byte-level BPE learned from the text; any string comes back byte for byte",
            config=BPEConfig,
            build="muomni_text.bpe:load",
            objective="muomni_text.bpe:learn",
            test_config={"vocab_size": 300},
            capabilities={Capability.LOSSLESS, Capability.TRAINABLE},
        ),
        TokenizerPart(
            name="bytes",
            doc="one token a byte; learns nothing",
            config=BytesConfig,
            build="muomni_text.byte_level:load",
            objective="muomni_text.byte_level:learn",
            capabilities={Capability.LOSSLESS},
        ),
    ]
