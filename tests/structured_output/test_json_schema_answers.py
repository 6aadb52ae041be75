"""A model with random weights answers with valid JSON of any schema that is supported.

All 1,000 schemas: ``python -m pytest -m slow tests/structured_output``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from jsonschema import Draft202012Validator

from muomni_cli.contract.form import Form
from muomni_cli.generation import Request, Sampling, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.structured_output.mask import FormState
from muomni_text.byte_level import ByteTokenizer
from tests.structured_output.schemas import Schema, schemas

FAST, ALL, ROWS = 32, 1000, 16
SPARE = (0, 1, 9, 60, 300)  # tokens above those that the schema needs


def answers(backend: TorchBackend, tokenizer: ByteTokenizer, made: Sequence[Schema], seed: int) -> list[str]:
    requests = []
    for row, schema in enumerate(made):
        form = Form.of({"json_schema": schema})
        assert form is not None
        least = FormState(form, tokenizer, backend.context).tokens_to_end
        spare = SPARE[(seed + row) % len(SPARE)]
        requests.append(Request([1], Sampling(), seed + row, max_tokens=least + spare, form=form))
    texts, ended = [""] * len(made), set[int]()
    for event in generate(backend, tokenizer, requests):
        texts[event.row] += event.text
        if event.finish is not None:
            ended.add(event.row)
    assert ended == set(range(len(made)))
    return texts


def check(backend: TorchBackend, tokenizer: ByteTokenizer, made: Sequence[Schema]) -> None:
    for begin in range(0, len(made), ROWS):
        few = made[begin : begin + ROWS]
        for schema, text in zip(few, answers(backend, tokenizer, few, begin), strict=True):
            Draft202012Validator.check_schema(schema)
            problems = list(Draft202012Validator(schema).iter_errors(json.loads(text)))
            assert not problems, (schema, text)


def test_answers_are_valid(backend: TorchBackend, tokenizer: ByteTokenizer) -> None:
    check(backend, tokenizer, list(schemas(FAST)))


@pytest.mark.slow
def test_a_thousand_answers_are_valid(backend: TorchBackend, tokenizer: ByteTokenizer) -> None:
    check(backend, tokenizer, list(schemas(ALL)))


def test_the_schemas_are_those_of_every_run_and_cover_the_subset() -> None:
    made = list(schemas(200))
    assert made[:FAST] == list(schemas(FAST))
    text = json.dumps(made)
    for keyword in ("anyOf", "oneOf", "allOf", "$ref", "enum", "const", "prefixItems", "patternProperties",
                    "multipleOf", "exclusiveMinimum", "format", "pattern", "maxProperties"):  # fmt: skip
        assert f'"{keyword}"' in text, keyword
