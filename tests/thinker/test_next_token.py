"""The objective's parts: the chunked loss against PyTorch's own, and a model that learns one batch by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from muomni_cli.api import Thinker
from muomni_cli.data.batches import Mixture, TokenStream
from muomni_cli.training import objectives as chunked
from muomni_cli.training.objectives import NextToken, summed_loss, to_batch
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_chunked_loss_and_gradients_are_those_of_cross_entropy(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(chunked, "CHUNK_LOGITS", chunk)
    torch.manual_seed(0)
    targets = torch.randint(0, 13, (3, 7))
    targets[0, :4] = chunked.IGNORED
    ours, theirs = ([torch.randn(3, 7, 8), torch.randn(13, 8)] for _ in range(2))
    theirs = [tensor.clone().requires_grad_() for tensor in ours]
    ours = [tensor.requires_grad_() for tensor in ours]
    total = chunked.summed_cross_entropy(ours[0], ours[1], targets)
    logits = theirs[0] @ theirs[1].t()
    wanted = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=chunked.IGNORED, reduction="sum")
    (total * 3).backward()
    (wanted * 3).backward()
    torch.testing.assert_close(total, wanted)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(chunked.summed_cross_entropy(ours[0], ours[1], targets), wanted)


def test_a_batch_counts_only_what_is_to_be_learned() -> None:
    tokens = np.arange(12).reshape(2, 6)
    mask = np.ones((2, 5), dtype=bool)
    mask[1, 3:] = False
    batch = to_batch(tokens, mask)
    assert batch.weight == 8
    assert batch.items == 10
    assert batch.tensors["ids"].tolist() == tokens[:, :-1].tolist()
    assert batch.tensors["targets"].tolist() == [[1, 2, 3, 4, 5], [7, 8, 9, chunked.IGNORED, chunked.IGNORED]]
    assert to_batch(tokens, mask, slice(1, 2)).weight == 3


def test_it_learns_one_batch_by_heart() -> None:
    torch.manual_seed(0)
    config = TransformerConfig(d_model=32, n_layers=2, n_heads=2, d_ff=64, ctx_len=16)
    model = build(config, 40)
    batch = to_batch(np.random.default_rng(0).integers(0, 40, (4, 17)), np.ones((4, 16), dtype=bool))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = summed_loss(model, batch.tensors).item() / batch.weight
    assert abs(first - np.log(40)) < 0.2
    for _ in range(120):
        optimizer.zero_grad()
        (summed_loss(model, batch.tensors) / batch.weight).backward()
        optimizer.step()
    assert summed_loss(model, batch.tensors).item() / batch.weight < 0.1


@dataclass
class Context:
    """As much of a stage's context as the objective looks at, over real streams."""

    train: Mixture
    val: list[TokenStream]
    seed: int = 3
    settings: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            batch_size=3, accumulate=2, val_batches=0, sample_prompts=("ab",), sample_tokens=9
        )
    )

    def text(self) -> Context:
        return self

    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer()

    def generate(self, thinker: Thinker, prompts: Sequence[str], max_tokens: int) -> list[str]:
        assert thinker.vocab_size == 262
        return ["c" * min(max_tokens, 3) for _ in prompts]


@pytest.fixture
def objective() -> NextToken:
    ids = np.array([1, *ByteTokenizer().encode("abc" * 40), 2])
    stream = TokenStream("s", ids)
    model = Transformer(TransformerConfig(d_model=16, n_layers=1, n_heads=2, d_ff=16, ctx_len=16), 262)
    return NextToken(model, Context(Mixture([stream], [1.0]), [stream]))


def test_micro_batches_share_out_the_step(objective: NextToken) -> None:
    shares = [objective.batch(5, micro).tensors["ids"] for micro in range(2)]
    assert [len(share) for share in shares] == [1, 2]
    objective._settings.accumulate = 1
    assert torch.equal(torch.cat(shares), objective.batch(5, 0).tensors["ids"])


def test_validation_counts_every_token_and_byte_once(objective: NextToken) -> None:
    torch.nn.init.zeros_(objective.module.head_weight)
    found = objective.validate()
    assert found["loss"] == pytest.approx(np.log(262), rel=1e-5)
    assert found["perplexity"] == pytest.approx(262, rel=1e-4)
    # 121 targets, of which the last is the end and has no bytes.
    assert found["bits_per_byte"] == pytest.approx(np.log2(262) * 121 / 120, rel=1e-5)
    assert objective.module.training


def test_what_muon_leaves_alone_and_what_is_written_while_training(objective: NextToken) -> None:
    assert objective.adamw_params == {"tok_emb.weight", "lm_head.weight"}
    assert [(s.name, s.content) for s in objective.samples(1)] == [("1.txt", "abccc\n")]
    assert objective.loss(objective.batch(0, 0)).total.requires_grad
