"""The arithmetic of docs/scaling.md, against what PyTorch saves for the backward pass and what it allocates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from muomni_cli.bench.parts import Repeated, token_batch
from muomni_cli.nn import device
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training.objectives import CHUNK_LOGITS, summed_loss
from muomni_cli.training.step import Stepper

SIZES = [
    {"d_model": 128, "n_layers": 4, "n_heads": 4, "n_kv_heads": 4, "d_ff": 512, "ctx_len": 256},
    {"d_model": 256, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "d_ff": 1024, "ctx_len": 256, "qk_norm": True},
    {"d_model": 384, "n_layers": 6, "n_heads": 6, "n_kv_heads": 2, "d_ff": 1248, "ctx_len": 256, "qk_norm": True},
]
BATCH, VOCAB = 2, 3000


def thinker_of(sizes: dict[str, int]) -> Any:
    part = get_registry().get("thinker", "transformer").part
    return resolve(part.build, "thinker")(part.config(tie_embeddings=True, **sizes), VOCAB)


def saved_bytes(sizes: dict[str, int]) -> int:
    thinker = thinker_of(sizes)
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


def activations(sizes: dict[str, int], batch: int) -> int:
    """The page's formula, in bytes."""
    width, layers, inner = sizes["d_model"], sizes["n_layers"], sizes["d_ff"]
    keys = width * sizes["n_kv_heads"] // sizes["n_heads"]
    layer = 8 * width + 4 * keys + 3 * inner + (width + keys if sizes.get("qk_norm") else 0)
    return batch * sizes["ctx_len"] * (4 * layers * layer + 8 * width) + 4 * VOCAB * width


@pytest.mark.parametrize("sizes", SIZES)
def test_activations_are_what_the_page_says(sizes: dict[str, int]) -> None:
    assert saved_bytes(sizes) == pytest.approx(activations(sizes, BATCH), rel=0.1)


def peak_bytes(sizes: dict[str, int], batch: int, settings: TrainSettings) -> tuple[Any, int]:
    """A Thinker, and the most that PyTorch had allocated at once while it took two training steps."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        thinker = thinker_of(sizes)
        rows, _ = token_batch(VOCAB, batch, sizes["ctx_len"])
        stepper = Stepper(Repeated.of_thinker(thinker, rows), settings, torch.device("cpu"))
        for step in range(2):
            stepper.step(step, [rows])
    results = profiler.profiler
    assert results is not None
    changes = sorted(
        (one.start_ns(), one.nbytes()) for one in results.kineto_results.events() if one.name() == "[memory]"
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return thinker, peak


@pytest.mark.filterwarnings("ignore")  # PyTorch's profiler warns of its own
@pytest.mark.parametrize(
    ("sizes", "batch", "optimizer", "ema"),
    [(SIZES[0], 4, "adamw", 0.0), (SIZES[1], 2, "muon", 0.0), (SIZES[2], 1, "muon", 0.9), (SIZES[2], 1, "adamw", 0.0)],
)
def test_a_step_allocates_what_the_page_says(sizes: dict[str, int], batch: int, optimizer: str, ema: float) -> None:
    if optimizer == "muon" and not device.multiplies_bf16("cpu"):
        pytest.skip("measured where Muon orthogonalizes in bfloat16")
    chosen = TrainSettings(steps=2, optimizer=optimizer, ema=ema, device="cpu", threads=1)
    thinker, peak = peak_bytes(sizes, batch, chosen)
    count = sum(p.numel() for p in thinker.parameters())
    named = {name: p for name, p in thinker.named_parameters() if p.ndim == 2 and name not in thinker.embedding_params}
    matrices = sum(p.numel() for p in named.values()) if optimizer == "muon" else 0
    alike: Counter[torch.Size] = Counter()
    for p in named.values():
        alike[p.shape] += p.numel()
    kept = 4 * count + 8 * (count - matrices) + 4 * matrices + (4 * count if ema else 0)
    logits = 4 * min(batch * sizes["ctx_len"], CHUNK_LOGITS // VOCAB) * VOCAB
    forward = kept + activations(sizes, batch) + logits + 4 * VOCAB * sizes["d_model"]
    update = kept + 4 * count + (16 * max(alike.values()) if optimizer == "muon" else 0)
    assert peak == pytest.approx(max(forward, update), rel=0.1)
