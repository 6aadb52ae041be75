"""A tiny random model over bytes."""

from __future__ import annotations

import pytest
import torch

from muomni_cli.generation.torch_backend import TorchBackend
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig


@pytest.fixture(scope="session")
def tokenizer() -> ByteTokenizer:
    return ByteTokenizer()


@pytest.fixture(scope="session")
def thinker(tokenizer: ByteTokenizer) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, ctx_len=1200)
    return build(config, tokenizer.vocab_size).eval()


@pytest.fixture
def backend(thinker: Transformer) -> TorchBackend:
    return TorchBackend(thinker)
