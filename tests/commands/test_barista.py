"""The model barista as it ships: whole, small, valid in every answer, and as good on recordings as its page says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from muomni_barista import GRAMMAR
from muomni_cli import Model, load
from muomni_cli.models.locate import model_named
from muomni_cli.runs.digests import verify
from muomni_cli.structured_output.command_grammar import read_grammar

MOST = 8_000_000  # bytes of the package
RATE = 16_000
CLEAN = 0.78  # the lower end of the interval that the page gives
ORDERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "speech" / "barista_dev200_16k_flac.tar"


@pytest.fixture(scope="module")
def barista() -> Iterator[Model]:
    with load("barista", device="cpu", threads=1) as model:
        yield model


def test_it_is_whole_and_small() -> None:
    found = model_named("barista")
    assert found.bundle is not None
    found.bundle.open().verify()
    verify(found.run().root)
    package = found.run().root.parent
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) <= MOST


def test_its_grammar_is_the_file_beside_it(barista: Model) -> None:
    (entry,) = barista.engine.heads.values()
    assert entry["config"]["grammar"] == json.loads(read_grammar(GRAMMAR).model_dump_json())


@pytest.mark.parametrize("level", [0.0, 1e-4, 1e-2, 0.3])
def test_noise_and_silence_are_no_orders(barista: Model, level: float) -> None:
    noise = (level * np.random.default_rng(0).standard_normal(4 * RATE)).astype(np.float32)
    assert json.loads(barista.chat(audio=(noise, RATE))) == {"intent": None, "slots": {}}


def test_every_answer_is_valid(barista: Model) -> None:
    grammar = read_grammar(GRAMMAR)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        times = np.arange(int(rng.uniform(0.3, 4) * RATE)) / RATE
        wave = sum(np.sin(2 * np.pi * rng.uniform(80, 4000) * times) for _ in range(4)) * np.sin(2 * np.pi * 3 * times)
        found = json.loads(barista.chat(audio=((0.1 * wave).astype(np.float32), RATE)))
        assert list(found) == ["intent", "slots"]
        assert found["intent"] in (None, "orderDrink")
        assert all(value in grammar.slots[slot] for slot, value in found["slots"].items())


def test_it_hears_orders_at_any_level(barista: Model) -> None:
    """Said by nano."""
    with load("nano", device="cpu", threads=1) as nano:
        samples, rate = nano.speak("could you make me a small cappuccino")
    for gain in (1.0, 0.03):
        heard = json.loads(barista.chat(audio=(gain * samples, rate)))
        assert heard == {"intent": "orderDrink", "slots": {"size": "small", "coffeeDrink": "cappuccino"}}


@pytest.mark.slow
def test_people_are_heard_as_its_page_says(barista: Model) -> None:
    from docs.barista_measure import hear, orders

    if not ORDERS.is_file():
        pytest.skip(f"{ORDERS} is not there")
    right = [hear(barista, wave, label)[0] for wave, label in orders(str(ORDERS))]
    assert np.mean(right) >= CLEAN
