"""The formula of docs/scaling.md for activations, against what PyTorch saves for the backward pass."""

from __future__ import annotations

import pytest
import torch

from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training.objectives import summed_loss

SIZES = [
    {"d_model": 128, "n_layers": 4, "n_heads": 4, "n_kv_heads": 4, "d_ff": 512, "ctx_len": 256},
    {"d_model": 256, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "d_ff": 1024, "ctx_len": 256, "qk_norm": True},
    {"d_model": 384, "n_layers": 6, "n_heads": 6, "n_kv_heads": 2, "d_ff": 1248, "ctx_len": 256, "qk_norm": True},
]
BATCH, VOCAB = 2, 3000


def saved_bytes(sizes: dict[str, int]) -> int:
    part = get_registry().get("thinker", "transformer").part
    thinker = resolve(part.build, "thinker")(part.config(tie_embeddings=True, **sizes), VOCAB)
    ids = torch.randint(VOCAB, (BATCH, sizes["ctx_len"]))
    own = {tensor.untyped_storage().data_ptr() for tensor in (*thinker.parameters(), *thinker.buffers())}
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = summed_loss(thinker, {"ids": ids, "targets": ids})
    assert loss.requires_grad
    return sum(held.values())


@pytest.mark.parametrize("sizes", SIZES)
def test_activations_are_what_the_page_says(sizes: dict[str, int]) -> None:
    width, layers, inner = sizes["d_model"], sizes["n_layers"], sizes["d_ff"]
    keys = width * sizes["n_kv_heads"] // sizes["n_heads"]
    layer = 8 * width + 4 * keys + 3 * inner + (width + keys if sizes.get("qk_norm") else 0)
    computed = BATCH * sizes["ctx_len"] * (4 * layers * layer + 8 * width) + 4 * VOCAB * width
    assert saved_bytes(sizes) == pytest.approx(computed, rel=0.1)
