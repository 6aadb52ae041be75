"""nano's answers, whose Thinker has weights of 8 bits, decoded together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from muomni_cli import Model, load
from muomni_cli.api import Message


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with load("nano", device="cpu", threads=1) as model:
        yield model


def test_a_row_gives_what_it_gives_alone_and_runs_in_the_same_call(nano: Model) -> None:
    """With quantized activations, the logits differ by a tenth."""
    prompts = [[1, *range(10, 11 + 5 * row)] for row in range(5)]
    together, alone = (nano.engine.backend(independent=True) for _ in range(2))
    state = together.merge([together.begin([prompt], 64)[0] for prompt in prompts])
    single = [alone.begin([prompt], 64)[0] for prompt in prompts]
    for step in range(3):
        tokens = np.arange(20, 25) + step
        logits = together.step(state, tokens)
        assert len({id(row.group) for row in state}) == 1
        for row, own in enumerate(single):
            np.testing.assert_allclose(logits[row], alone.step(own, tokens[row : row + 1])[0], atol=2e-4)


def test_answers_are_those_of_one_at_a_time(nano: Model) -> None:
    def ask(seed: int) -> list[int]:
        reply = nano.reply([Message("user", "Tell me a story", ())], together=True, seed=seed, temperature=1.0)
        for chunk in reply:
            if seed % 3 == 0 and chunk.text:
                break  # a third hangs up
        return reply.answer.tokens if seed % 3 else []

    one = [ask(seed) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == one
