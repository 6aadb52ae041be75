"""The transformer against the specification's shapes, and the properties that its capabilities promise."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from muomni_cli.api import RequestError
from muomni_thinker.model import Transformer, build
from muomni_thinker.plugin import TransformerConfig

TINY = {"d_model": 32, "n_layers": 2, "n_heads": 4, "d_ff": 48, "ctx_len": 24}
VARIANTS = [
    TransformerConfig(**TINY),
    TransformerConfig(**TINY, n_kv_heads=2),
    TransformerConfig(**TINY, n_kv_heads=1, qk_norm=True, tie_embeddings=True),
]
VOCAB = 50


def tiny(config: TransformerConfig = VARIANTS[0]) -> Transformer:
    """A small model whose weights are large enough for differences to show."""
    torch.manual_seed(1)
    model = build(config, VOCAB).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


def sequence(length: int, rows: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def spec() -> Transformer:
    return build(TransformerConfig(), 5000).eval()


def test_parameter_count_of_the_specification(spec: Transformer) -> None:
    assert sum(p.numel() for p in spec.parameters()) == 6_756_608


@torch.no_grad()
def test_every_shape_of_the_text_pipeline(spec: Transformer) -> None:
    ids = torch.tensor([[1, 234, 567, 890, 123, 456]])
    x = spec.embed(ids)
    assert x.shape == (1, 6, 256)
    cache = spec.new_cache(1, 70)
    attention = spec.blocks[0].attention
    query, key, value = attention.project(x, spec._span(6, [6], None))
    assert query.shape == key.shape == value.shape == (1, 4, 6, 64)
    for block in spec.blocks:
        assert block(x, spec._span(6, [6], None)).shape == (1, 6, 256)
    output = spec(ids, cache=cache)
    assert output.hidden.shape == (1, 6, 256)
    assert output.logits.shape == (1, 6, 5000)
    assert cache.lengths == [6]
    following = output.logits[:, -1:].argmax(-1)
    assert torch.cat([ids, following], 1).shape == (1, 7)
    assert spec(following, cache=cache).logits.shape == (1, 1, 5000)
    assert cache.lengths == [7]


@torch.no_grad()
def test_thirty_five_fused_embeddings(spec: Transformer) -> None:
    assert spec(embeds=torch.randn(1, 35, 256)).logits.shape == (1, 35, 5000)


@pytest.mark.parametrize("config", VARIANTS)
@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(lambda n: sum(n) <= 24), seed=st.integers(0, 99)
)
@torch.no_grad()
def test_cached_equals_uncached_for_any_split(config: TransformerConfig, lengths: list[int], seed: int) -> None:
    model, ids = tiny(config), sequence(sum(lengths), rows=2, seed=seed)
    cache = model.new_cache(2, sum(lengths))
    parts = [model(part, cache=cache).logits for part in ids.split(lengths, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model(ids).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cached_step_sees_every_position() -> None:
    model, ids = tiny(), sequence(8)
    reference = model(ids).logits[:, -1]
    for place in range(7):
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCAB
        cache = model.new_cache(1, 8)
        model(changed[:, :7], cache=cache)
        step = model(ids[:, 7:], cache=cache).logits[:, -1]
        assert (step - reference).abs().max() > 1e-4, f"position {place} does not matter"


@pytest.mark.parametrize("config", VARIANTS)
@torch.no_grad()
def test_ragged_batch_equals_singles(config: TransformerConfig) -> None:
    model = tiny(config)
    rows = [sequence(n, seed=n) for n in (3, 9, 6)]
    more = [sequence(n, seed=50 + n) for n in (4, 1, 2)]
    cache = model.new_cache(3, 16)
    first = model(_pad(rows), cache=cache, lengths=[3, 9, 6], last_only=True).logits
    chunk = model(_pad(more), cache=cache, lengths=[4, 1, 2], last_only=True).logits
    step = model(torch.tensor([[7], [8], [9]]), cache=cache).logits
    assert cache.lengths == [8, 11, 9]
    for b, (row, extra) in enumerate(zip(rows, more, strict=True)):
        whole = torch.cat([row, extra, torch.tensor([[7 + b]])], 1)
        logits = model(whole).logits[0]
        for batched, place in ((first, row.shape[1] - 1), (chunk, whole.shape[1] - 2), (step, whole.shape[1] - 1)):
            torch.testing.assert_close(batched[b, 0], logits[place], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_an_idle_row_stays_as_it_is() -> None:
    model, ids = tiny(), sequence(10, rows=2)
    cache = model.new_cache(2, 10)
    model(ids[:, :4], cache=cache)
    model(ids[:, 4:5], cache=cache, lengths=[1, 0])
    model(ids[:, 5:6], cache=cache, lengths=[1, 0])
    late = model(torch.stack([ids[0, 6:7], ids[1, 4:5]]), cache=cache).logits
    assert cache.lengths == [7, 5]
    torch.testing.assert_close(late[0, 0], model(ids[:1, :7]).logits[0, -1], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(late[1, 0], model(ids[1:, :5]).logits[0, -1], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_cache_cut_back_continues_like_a_fresh_one() -> None:
    model, ids = tiny(), sequence(12, rows=2)
    cache = model.new_cache(2, 12)
    model(sequence(12, rows=2, seed=9), cache=cache)
    cache.truncate([0, 0])
    model(ids[:, :8], cache=cache)
    cache.truncate([5, 3])
    assert cache.lengths == [5, 3]
    step = model(torch.stack([ids[0, 5:7], ids[1, 3:5]]), cache=cache).logits
    torch.testing.assert_close(step[0], model(ids[:1, :7]).logits[0, 5:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(step[1], model(ids[1:, :5]).logits[0, 3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cut", [[9], [-1], [1, 1]])
@torch.no_grad()
def test_a_cache_is_never_cut_to_what_it_does_not_hold(cut: list[int]) -> None:
    model = tiny()
    cache = model.new_cache(1, 8)
    model(sequence(4), cache=cache)
    with pytest.raises(RequestError):
        cache.truncate(cut)
    assert cache.lengths == [4]


@torch.no_grad()
def test_a_full_cache_and_a_full_context_say_the_counts() -> None:
    model = tiny()
    cache = model.new_cache(2, 6)
    model(sequence(4, rows=2), cache=cache)
    with pytest.raises(RequestError, match=r"room for 6.*would make 7"):
        model(sequence(3, rows=2), cache=cache)
    assert cache.lengths == [4, 4]
    with pytest.raises(RequestError, match=r"25 tokens.*context of 24"):
        model(sequence(25))


@torch.no_grad()
def test_a_later_token_never_changes_an_earlier_output() -> None:
    model, ids = tiny(), sequence(9)
    before = model(ids).logits
    ids[0, 5] = (ids[0, 5] + 1) % VOCAB
    after = model(ids).logits
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.allclose(before[:, 5:], after[:, 5:])


@torch.no_grad()
def test_embeddings_are_as_good_as_ids() -> None:
    model, ids = tiny(), sequence(9)
    assert torch.equal(model(ids).logits, model(embeds=model.embed(ids)).logits)
    with pytest.raises(ValueError, match="one of the two"):
        model(ids, embeds=model.embed(ids))


@torch.no_grad()
def test_positions_matter() -> None:
    model = tiny()
    once, twice = model(torch.tensor([[3, 4, 5]])).logits, model(torch.tensor([[4, 3, 5]])).logits
    assert (once[0, -1] - twice[0, -1]).abs().max() > 1e-4


def test_padding_gives_no_gradient_and_every_weight_gets_one() -> None:
    model, lengths = tiny(VARIANTS[2]), [4, 7]
    embeds = torch.randn(2, 7, 32, requires_grad=True)
    logits = model(embeds=embeds, lengths=lengths).logits
    (logits[0, :4].square().sum() + logits[1].square().sum()).backward()
    assert embeds.grad is not None
    assert embeds.grad[0, 4:].abs().max() == 0
    assert embeds.grad[0, :4].abs().min(dim=1).values.max() > 0
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_tied_embeddings_have_one_matrix() -> None:
    tied, own = (build(TransformerConfig(**TINY, tie_embeddings=tie), VOCAB) for tie in (True, False))
    assert "lm_head.weight" not in tied.state_dict()
    assert sum(p.numel() for p in own.parameters()) - sum(p.numel() for p in tied.parameters()) == VOCAB * 32


def test_dropout_only_in_training() -> None:
    model, ids = build(TransformerConfig(**TINY, dropout=0.5), VOCAB), sequence(9)
    assert not torch.equal(model(ids).logits, model(ids).logits)
    model.eval()
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        ({"d_model": 30, "n_heads": 4}, "d_model 30 cannot be split into n_heads 4"),
        ({"d_model": 12, "n_heads": 4}, "12 / 4 = 3 wide"),
        ({"n_heads": 4, "n_kv_heads": 3}, "n_heads 4 is no multiple of n_kv_heads 3"),
        ({"dropout": 1.0}, "dropout"),
        ({"layers": 3}, "layers"),
    ],
)
def test_a_configuration_that_cannot_be_names_the_mistake(mistake: dict[str, float], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        TransformerConfig(**mistake)


def _pad(rows: list[torch.Tensor]) -> torch.Tensor:
    width = max(row.shape[1] for row in rows)
    padded = [row[0].tolist() + [VOCAB - 1] * (width - row.shape[1]) for row in rows]
    assert all(len(a) == len(b) for a, b in itertools.pairwise(padded))
    return torch.tensor(padded)
