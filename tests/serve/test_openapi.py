"""The OpenAPI document is true: requests that are made of it, valid and invalid, get only answers that it describes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest

from muomni_serve.app import ENDPOINTS
from tests.serve.running import Served, serving

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
response_schema_conformance,negative_data_rejection,missing_required_header,ignored_auth"


def run_cases(url: str, folder: Path, *options: str) -> str:
    """Schemathesis in a process of its own; what it prints. Fails if a check does."""
    command = [
        sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
        f"{url}/openapi.json", "--checks", CHECKS, "--seed", "1", "--generation-database", "none", "--no-color",
        *options,
    ]  # fmt: skip
    hooks = str(Path(__file__).with_name("cases.py"))
    variables = os.environ | {"PYTHONWARNINGS": "ignore", "COLUMNS": "200", "SCHEMATHESIS_HOOKS": hooks}
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    return done.stdout


def test_answers_are_as_described(tmp_path: Path) -> None:
    with serving(max_text=100) as server:
        said = run_cases(server.url, tmp_path, "--phases", "fuzzing", "--max-examples", "12")
        answered = httpx.get(f"{server.url}/metrics").text
    assert "Selected: 7/7" in said
    for path in ("chat/completions", "audio/speech"):
        assert f'muomni_requests_total{{path="/v1/{path}",status="200"}}' in answered  # not only refusals


@pytest.mark.slow
def test_five_thousand_cases(tmp_path: Path) -> None:
    """``make test-slow``, or this file with ``-m slow``."""
    with serving(max_audio=30.0, max_text=100) as server:
        said = run_cases(server.url, tmp_path, "--max-examples", "600")
    count = int(said.split("Test cases:")[1].split()[0].replace(",", ""))
    assert count >= 5000, said[-2000:]


def test_the_document_describes_what_is_served(served: Served) -> None:
    document = httpx.get(f"{served.url}/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {one.path for one in ENDPOINTS}
    chat = document["components"]["schemas"]["ChatRequest"]
    assert chat["additionalProperties"] is False
    assert chat["properties"]["model"]["enum"] == ["nano"]
    assert document["components"]["schemas"]["SpeechRequest"]["properties"]["input"]["maxLength"] == 4096
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_key_is_in_the_document() -> None:
    with serving(api_key="secret") as server:
        document = httpx.get(f"{server.url}/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    assert document["security"] == [{"key": []}]
