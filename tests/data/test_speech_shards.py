"""Encoded speech: edges of characters, and the states of a Thinker that goes with a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.api import CharSpan
from muomni_cli.data.speech import char_times_of
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training.context import thinker_hidden_states


def test_a_span_s_characters_share_its_time() -> None:
    spans = [CharSpan(0, 1, 0.1, 0.2), CharSpan(1, 3, 0.2, 0.6), CharSpan(3, 4, 0.6, 0.7)]
    np.testing.assert_allclose(char_times_of(spans, 4), [0.1, 0.2, 0.4, 0.6, 0.7])


def test_what_no_span_covers_takes_no_time() -> None:
    spans = [CharSpan(1, 2, 0.1, 0.2), CharSpan(3, 4, 0.2, 0.5)]
    np.testing.assert_allclose(char_times_of(spans, 6), [0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 0.5])


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(0, 3),
)
def test_edges_never_fall_and_end_with_the_last_span(parts: list[tuple[int, int, float]], after: int) -> None:
    spans, place, now = [], 0, 0.0
    for skipped, count, lasting in parts:
        spans.append(CharSpan(place + skipped, place + skipped + count, now, now + lasting))
        place, now = place + skipped + count, now + lasting
    char_times = char_times_of(spans, place + after)
    assert char_times.shape == (place + after + 1,)
    assert (np.diff(char_times) >= -1e-6).all()
    assert char_times[-1] == pytest.approx(now, abs=1e-5)


@pytest.mark.parametrize("template", ["plain", "roles"])
def test_a_text_is_thought_token_by_token(template: str) -> None:
    """Each token has the state whose logits would have chosen it, and the pieces are the text."""
    registered = get_registry().get("thinker", "transformer")
    config = registered.part.config.model_validate(
        {"d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 32, "ctx_len": 40}
    )
    part = get_registry().get("tokenizer", "bytes").part
    tokenizer = resolve(part.build)(part.config(), None)
    torch.manual_seed(0)
    thinker = resolve(registered.part.build)(config, tokenizer.vocab_size).eval()
    text = "naïve words"
    said = thinker_hidden_states(thinker, tokenizer, template, text)  # type: ignore[arg-type]
    assert "".join(piece.text for piece in said) == text
    start = [tokenizer.specials["bos"], *([tokenizer.specials["assistant"]] if template == "roles" else [])]
    ids = [*start, *tokenizer.encode(text)]
    with torch.no_grad():
        states = thinker.hidden(torch.tensor([ids]))[0].numpy()
    for number in (0, 5):
        np.testing.assert_allclose(said[number].hidden, states[len(start) - 1 + number], atol=1e-5)


def test_what_does_not_fit_the_context_is_said_without_thoughts() -> None:
    registered = get_registry().get("thinker", "transformer")
    config = registered.part.config.model_validate(
        {"d_model": 32, "n_layers": 1, "n_heads": 2, "d_ff": 32, "ctx_len": 8}
    )
    part = get_registry().get("tokenizer", "bytes").part
    tokenizer = resolve(part.build)(part.config(), None)
    thinker = resolve(registered.part.build)(config, tokenizer.vocab_size).eval()
    said = thinker_hidden_states(thinker, tokenizer, "plain", "a longer text")
    assert "".join(piece.text for piece in said) == "a longer text"
    assert said[-1].hidden is None
