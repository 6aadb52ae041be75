"""Answers of every form by a random model: exactly one of the choices, a full match, a sentence of the grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from muomni_cli import RequestError
from muomni_cli.contract.form import Form
from muomni_cli.generation import Request, Sampling, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_text.byte_level import ByteTokenizer

GREEDY, WIDE = Sampling(temperature=0), Sampling()
SAMPLINGS = [
    GREEDY,
    Sampling(),
    Sampling(1.5, top_k=3),
    Sampling(0.7, top_p=0.8, repetition_penalty=1.3),
    Sampling(min_p=0.2),
]


class Teller:
    """``teller(form, seed=1)`` -> text and reason of the end of one answer."""

    def __init__(self, backend: TorchBackend | Same, tokenizer: ByteTokenizer) -> None:
        self.backend, self.tokenizer = backend, tokenizer

    def __call__(self, form: dict[str, Any], sampling: Sampling = WIDE, **rest: Any) -> tuple[str, str]:
        request = Request([1, 80], sampling, form=Form.of(form), **rest)
        events = list(generate(self.backend, self.tokenizer, [request]))
        assert len(events) <= request.max_tokens
        specials = [event.token for event in events if event.token in self.tokenizer.specials.values()]
        assert specials in ([], [self.tokenizer.specials["eos"]])
        assert all(event.finish is None for event in events[:-1])
        return "".join(event.text for event in events), str(events[-1].finish)


@pytest.fixture
def tell(backend: TorchBackend, tokenizer: ByteTokenizer) -> Teller:
    return Teller(backend, tokenizer)


CHOICES = ["yes", "no", "maybe so", "yes, but", "größer", 'a "b" (c)? [d] \\d+', "two\nlines", "日本", "."]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_answer_is_one_of_the_choices(tell: Teller, sampling: Sampling) -> None:
    said = {tell({"choices": CHOICES}, sampling, seed=seed)[0] for seed in range(12)}
    assert said <= set(CHOICES)
    assert len(said) > 1 or sampling == GREEDY


@pytest.mark.parametrize("choice", CHOICES)
def test_a_single_choice_is_said_and_ends_the_answer(tell: Teller, choice: str) -> None:
    assert tell({"choices": [choice]}) == (choice, "eos")


@pytest.mark.parametrize(
    "regex",
    ["[a-c]{3}-[0-9]+", "(ab)*c", "a{0,5}", "(?i)yes|no", "[^x]{2,9}", "(foo|ba[rz]){2}!?", "é+ü?",
     "(x+y+)+z", "[0-9]{4}-[01][0-9]", ".{12}", "((a|b)(c|d)){3,5}e", "~*", "(red|green|blue)( (red|green|blue))*"],
)  # fmt: skip
@pytest.mark.parametrize("limit", [13, 40, 200])
def test_the_answer_matches_the_regular_expression(tell: Teller, regex: str, limit: int) -> None:
    for sampling in (GREEDY, Sampling(), Sampling(2.0)):
        text, _ = tell({"regex": regex}, sampling, max_tokens=limit, seed=limit)
        assert re.fullmatch(regex, text), text


ARITHMETIC = """\
start: sum
sum: product ("+" product)*
product: atom ("*" atom)*
atom: /[0-9]/ | "(" sum ")"
"""


@pytest.mark.parametrize("limit", [1, 5, 60, 300])
def test_the_answer_is_a_sentence_of_the_grammar(tell: Teller, limit: int) -> None:
    for seed in range(4):
        text, _ = tell({"grammar": ARITHMETIC}, Sampling(1.2), max_tokens=limit, seed=seed)
        assert re.fullmatch(r"[0-9+*()]+", text)
        compile(text, "sum", "eval")  # balanced, and nothing is missing


def test_endless_forms_end_by_the_limit_and_say_so(tell: Teller) -> None:
    text, finish = tell({"regex": "[a-z]+"}, max_tokens=30, loop_guard=False)
    assert (finish, len(text)) in (("length", 30), ("eos", len(text)))
    wide = {"type": "array", "items": {"type": "string"}, "minItems": 3}
    text, finish = tell({"json_schema": wide}, max_tokens=25, loop_guard=False)
    assert len(json.loads(text)) >= 3
    assert finish == "length"


class Same:
    """A backend that says "a" where it may, for tests of the loop alone."""

    context = 512

    def begin(self, prompts: Sequence[Sequence[int]], _: int) -> tuple[None, np.ndarray]:
        logits = np.zeros((len(prompts), 262), np.float32)
        logits[:, 6 + ord("a")] = 9
        return None, logits

    def step(self, state: None, tokens: np.ndarray) -> np.ndarray:
        assert state is None
        return self.begin([[int(token)] for token in tokens], 0)[1]


def test_the_guard_completes_an_answer_that_repeats_itself(tell: Teller) -> None:
    tell.backend = Same()
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 12}}, "required": ["a"],
        "additionalProperties": False}  # fmt: skip
    text, finish = tell({"json_schema": schema}, GREEDY)
    assert finish == "loop"
    assert 12 <= len(json.loads(text)["a"]) < 20
    text, finish = tell({"json_schema": schema}, GREEDY, loop_guard=False, max_tokens=50)
    assert finish == "length"
    assert len(json.loads(text)["a"]) > 30
    assert tell({"choices": ["aaaaaaaaaa"]}, GREEDY) == ("aaaaaaaaaa", "eos")  # no other way: the guard changed nothing


def test_a_stop_string_ends_a_complete_answer_only(tell: Teller) -> None:
    for seed in range(6):
        text, finish = tell({"regex": "(ab ?){2,40}"}, Sampling(), seed=seed, stop=["b"], max_tokens=60)
        assert re.fullmatch("(ab ?){2,40}", text)
        text, finish = tell({"regex": "x{3}:?[a-z]*"}, Sampling(), seed=seed, stop=[":", "xx"], max_tokens=60)
        assert re.fullmatch("x{3}:?[a-z]*", text)
        assert ":" not in text or finish != "stop"


def test_a_form_without_room_is_refused_before_the_first_token(tell: Teller) -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string", "minLength": 30}}, "required": ["name"]}
    with pytest.raises(RequestError, match=r"at least about 41 tokens, but at most 20"):
        tell({"json_schema": schema}, max_tokens=20)
    text, _ = tell({"json_schema": schema}, max_tokens=41, loop_guard=False)
    assert len(json.loads(text)["name"]) >= 30
    with pytest.raises(RequestError, match="at least about 2000 tokens, but at most 1199") as raised:
        tell({"choices": ["a" * 2000]}, max_tokens=5000)
    assert "context" in raised.value.fix


def test_a_form_that_nothing_satisfies_is_refused(tell: Teller) -> None:
    with pytest.raises(RequestError, match="no answer of this form"):
        tell({"grammar": 'start: "a" start\n'})
    with pytest.raises(RequestError, match="'a' is unsatisfiable"):
        tell({"json_schema": {"type": "object", "properties": {"a": False}, "required": ["a"]}})


def test_rows_of_one_batch_have_forms_of_their_own(backend: TorchBackend, tokenizer: ByteTokenizer) -> None:
    forms = [None, {"choices": ["left", "right"]}, {"regex": "[0-9]{3}"}, {"json_schema": {"type": "boolean"}}]
    requests = [Request([1], Sampling(), seed=3, max_tokens=24, form=Form.of(form)) for form in forms]

    def texts(some: list[Request]) -> list[str]:
        joined = [""] * len(some)
        for event in generate(backend, tokenizer, some):
            joined[event.row] += event.text
        return joined

    together = texts(requests)
    assert together == [texts([request])[0] for request in requests]
    assert together[1] in ("left", "right")
    assert re.fullmatch("[0-9]{3}", together[2])
    assert together[3] in ("true", "false")


def test_the_same_seed_gives_the_same_answer(tell: Teller) -> None:
    schema = {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 5}
    first, again, other = (tell({"json_schema": schema}, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
