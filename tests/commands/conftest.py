"""A small grammar of a lamp, and scores of CTC that spell what somebody says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muomni_audio_encoder.ctc import BLANK, Alphabet
from muomni_cli.structured_output.command_grammar import CommandGrammar

LAMP: dict[str, Any] = {
    "intents": {
        "switch": ["<ask> {state} the [{room}] (light | lamp)", "<ask> the {room} light {state}"],
        "dim": ["[please] dim [the] {room} light to {level} [percent]"],
    },
    "phrases": {"ask": ["turn", "[please] switch", "could you turn"]},
    "slots": {"state": ["on", "off"], "room": ["kitchen", "bedroom", "hall"], "level": ["ten", "fifty"]},
    "spoken": {"room": {"bedroom": ["sleeping room"]}},
}
ALPHABET = Alphabet(" 'abcdefghijklmnopqrstuvwxyz")
Spell = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="session")
def lamp() -> CommandGrammar:
    return CommandGrammar.model_validate(LAMP)


@pytest.fixture(scope="session")
def spell() -> Spell:
    """``spell(text, doubt, seed, pause)``: (T,C) scores whose best path is ``text``; ``doubt`` is the probability of
    all other classes together, ``pause`` the blanks between two words."""

    def scores(text: str, doubt: float = 0.05, seed: int = 0, pause: int = 1) -> NDArray[np.float32]:
        rng = np.random.default_rng(seed)
        marks = [BLANK] * 5
        for word in text.split():
            for label in ALPHABET.encode(word):
                marks += [label] * int(rng.integers(1, 3)) + [BLANK] * int(rng.integers(1, 3))
            marks += [*ALPHABET.classes_of(" "), *[BLANK] * pause]
        shares = rng.dirichlet(np.full(ALPHABET.classes, 0.3), len(marks)) * doubt + 1e-6
        shares[np.arange(len(marks)), marks] += 1 - doubt
        return np.log(shares / shares.sum(1, keepdims=True)).astype(np.float32)

    return scores
