"""What a form costs: ``python -m tests.structured_output.cost``, in CPU time of one thread."""

from __future__ import annotations

import random
import time

import numpy as np

from muomni_cli import load
from muomni_cli.contract.form import Form
from muomni_cli.contract.models import Tokenizer
from muomni_cli.structured_output.mask import FormState, tokens_of
from tests.structured_output.test_mask import BYTES, Pieces

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 60},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 30}, "maxItems": 6},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
FORMS = {
    "choices": {"choices": [f"number {number}" for number in range(100)]},
    "json_schema": {"json_schema": PERSON},
    "regex": {"regex": "([a-z]+ )*[a-z]+[.]"},
}
LIMIT, ANSWERS = 256, 40


def large(size: int) -> Tokenizer:
    """A vocabulary of random words."""
    rng = random.Random(0)
    words: dict[bytes, None] = dict.fromkeys(BYTES)
    while len(words) < size - 6:
        words["".join(rng.choices('abcdefghijklmnopqrstuvwxyz :,{}"0123456789', k=rng.randrange(2, 8))).encode()] = None
    return Pieces(list(words))


def cost(form: Form, tokenizer: Tokenizer) -> tuple[float, float, int]:
    """CPU time: milliseconds until the first token can be drawn, microseconds for each token, number of tokens."""
    begin = time.thread_time()
    FormState(form, tokenizer, LIMIT)
    first = time.thread_time() - begin
    spent, count = 0.0, 0
    for seed in range(ANSWERS):
        rng, state = np.random.default_rng(seed), FormState(form, tokenizer, LIMIT)
        for left in range(LIMIT, 0, -1):
            begin = time.thread_time()
            token, _ = state.next(lambda ids: int(ids[rng.integers(len(ids))]), left)  # noqa: B023 - called at once
            finished = state.finished
            spent, count = spent + time.thread_time() - begin, count + 1
            if finished or token == tokenizer.specials["eos"]:
                break
    return 1e3 * first, 1e6 * spent / count, count


def main() -> None:
    with load("nano") as model:
        own = model.engine.tokenizer()
    for tokenizer in (own, large(150_000)):
        begin = time.thread_time()
        tokens_of(tokenizer)
        print(f"{tokenizer.vocab_size} tokens: prepared in {1e3 * (time.thread_time() - begin):.0f} ms")
        for name, value in FORMS.items():
            form = Form.of(value)
            assert form is not None
            first, each, count = cost(form, tokenizer)
            print(f"  {name:12} {first:6.1f} ms to begin, {each:5.0f} µs a token ({count} tokens)")


if __name__ == "__main__":
    main()
