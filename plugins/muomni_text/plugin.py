"""The plugin: the tokenizers ``bpe`` and ``bytes``, imported lazily."""

from __future__ import annotations

from muomni_cli.api import Capability, TokenizerPart, hookimpl
from muomni_text.config import BPEConfig, BytesConfig


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
