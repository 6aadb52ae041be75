"""nano's answers, whose Thinker has weights of 8 bits, decoded together."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muomni_cli import Model, load
from muomni_cli.api import Message
from muomni_onnx.alignment import alignment_of


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with load("nano", device="cpu", threads=1) as model:
        yield model


def test_a_row_gives_what_it_gives_alone_to_the_bit_and_runs_in_the_same_call(nano: Model) -> None:
    alignment = nano.engine.alignment
    if alignment is None:
        pytest.skip("the kernels for this CPU sum each number of rows in another order")
    prompts = [[1, *range(10, 15 + alignment * row)] for row in (0, 11, 3, 7, 2)]
    together, alone = (nano.engine.backend() for _ in range(2))
    state = together.merge([together.begin([prompt], 64)[0] for prompt in prompts])
    single = [alone.begin([prompt], 64)[0] for prompt in prompts]
    for step in range(3):
        tokens = np.arange(20, 25) + step
        logits = together.step(state, tokens)
        assert len({id(row.group) for row in state}) == 1
        for row, own in enumerate(single):
            np.testing.assert_array_equal(logits[row], alone.step(own, tokens[row : row + 1])[0])


def test_answers_are_those_of_one_at_a_time_without_a_batch(nano: Model) -> None:
    def ask(seed: int, *, together: bool = True) -> list[int]:
        question = [Message("user", "Tell me a story" + " about trains" * (seed % 5), ())]
        reply = nano.reply(question, together=together, seed=seed, temperature=1.0)
        for chunk in reply:
            if seed % 3 == 0 and chunk.text:
                break  # a third hangs up
        return reply.answer.tokens if seed % 3 else []

    one = [ask(seed, together=nano.engine.alignment is None) for seed in range(12)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(12))) == one


def test_speeches_are_those_of_one_at_a_time_whoever_else_chats_or_leaves(nano: Model) -> None:
    """Of several voices, speeds, seeds and temperatures, in threads."""
    texts = ("Hello.", "The train leaves at 7:30. Come along!", "One two three four five six seven.")

    def say(seed: int, *, together: bool) -> NDArray[np.float32]:
        made: list[NDArray[np.float32]] = []
        voice = nano.voices[seed % len(nano.voices)] if nano.voices else None
        options: dict[str, Any] = {
            "voice": voice,
            "speed": (1.0, 0.8, 1.4)[seed % 3],
            "temperature": (None, 0)[seed % 2],
        }
        for samples in nano.speech(texts[seed // 3], together=together, seed=seed, **options):
            made.append(samples)
            if seed == 4 and len(made) == 3:
                break  # hangs up
        return np.concatenate(made)

    def ask(seed: int) -> str:
        return "".join(chunk.text for chunk in nano.reply([Message("user", "Hello")], together=True, seed=seed))

    one = [say(seed, together=False) for seed in range(9)]
    with ThreadPoolExecutor(6) as pool:
        chats = [pool.submit(ask, seed) for seed in range(4)]
        for own, said in zip(one, pool.map(lambda seed: say(seed, together=True), range(9)), strict=True):
            np.testing.assert_allclose(said, own, atol=1e-4)
        assert all(chat.result() for chat in chats)


def test_an_engine_whose_rows_depend_on_each_other_says_so(nano: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: Any = type(nano.engine.backend())
    step = kind.step

    def rounded_otherwise(self: Any, state: Any, tokens: NDArray[np.int64]) -> Any:
        return step(self, state, tokens) + np.float32(1e-4 if len(tokens) > 1 else 0)

    monkeypatch.setattr(kind, "step", rounded_otherwise)
    with load("nano", device="cpu") as model:
        assert model.engine.alignment is None
    assert alignment_of(nano.engine.backend, 2000) is None  # type: ignore[arg-type]
