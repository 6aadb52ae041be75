"""A real server in this process, on a free port, with the model nano; clients come over the socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openai import OpenAI

from muomni_cli import Model, load
from tests.serve.running import Served, serving

SAMPLES = Path(__file__).resolve().parents[2] / "plugins/muomni_nano/samples"


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    """One server for all tests that do not need settings of their own."""
    with serving() as one:
        yield one


@pytest.fixture
def client(served: Served) -> Iterator[OpenAI]:
    """OpenAI's own client, which retries nothing here."""
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as one:
        yield one


@pytest.fixture(scope="session")
def nano() -> Iterator[Model]:
    """The same model without a server."""
    with load("nano") as model:
        yield model


@pytest.fixture(scope="session")
def question(nano: Model) -> Any:
    """A spoken question (N,) at 16 kHz, with a second of silence around it."""
    samples, _ = nano.speak("What color is the sky?")
    silence = np.zeros(16_000, np.float32)
    return np.concatenate([silence, samples, silence])


@pytest.fixture(scope="session")
def picture() -> bytes:
    return (SAMPLES / "x.png").read_bytes()


@pytest.fixture(scope="session")
def sound() -> bytes:
    return (SAMPLES / "y.wav").read_bytes()
