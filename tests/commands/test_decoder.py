"""The search for commands: what the grammar can say is found again, whatever is around it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from muomni_audio_encoder.commands import CommandDecoder, said
from muomni_barista import GRAMMAR
from muomni_cli.structured_output.command_grammar import Command, CommandGrammar, read_grammar
from tests.commands.conftest import ALPHABET, Spell


@pytest.fixture(scope="module")
def decoder(lamp: CommandGrammar) -> CommandDecoder:
    return CommandDecoder(lamp, ALPHABET)


@pytest.fixture(scope="module")
def orders() -> CommandDecoder:
    return CommandDecoder(read_grammar(GRAMMAR), ALPHABET)


def test_every_sentence_of_the_grammar_is_found(decoder: CommandDecoder, lamp: CommandGrammar, spell: Spell) -> None:
    rng = random.Random(1)
    for seed in range(60):
        text, command = lamp.sentence(rng)
        assert decoder.decode(spell(text, seed=seed)) == command, text
        assert said(decoder, text) == command, text


def test_orders_are_found(orders: CommandDecoder, spell: Spell) -> None:
    rng = random.Random(2)
    grammar = read_grammar(GRAMMAR)
    for seed in range(12):
        text, command = grammar.sentence(rng)
        assert orders.decode(spell(text, seed=seed)) == command, text


def test_pauses_silence_and_words_between_change_nothing(decoder: CommandDecoder, spell: Spell) -> None:
    wanted = Command("switch", {"state": "off", "room": "kitchen"})
    for text, pause in (
        ("turn off the kitchen light", 40),
        ("well turn off the kitchen light", 3),
        ("turn um off the kitchen light now", 3),
        ("turn off ze kichen light", 2),
    ):
        assert decoder.decode(spell(text, pause=pause)) == wanted, text
    quiet = spell("")
    assert decoder.decode(np.concatenate([quiet] * 20 + [spell("turn off the kitchen light")] + [quiet] * 30)) == wanted


def test_a_word_in_doubt_is_decided_by_what_can_stand_there(decoder: CommandDecoder, spell: Spell) -> None:
    heard = decoder.decode(spell("dim the hool light to fifti percent", doubt=0.3))
    assert heard == Command("dim", {"room": "hall", "level": "fifty"})


def test_another_way_to_say_a_value_gives_the_value(decoder: CommandDecoder) -> None:
    assert said(decoder, "turn on the sleeping room light") == Command("switch", {"state": "on", "room": "bedroom"})


@pytest.mark.parametrize(
    "text", ["", "what a lovely day it is", "the kitchen", "my brother sat down and opened his book", "on"]
)
def test_no_command_gives_none(decoder: CommandDecoder, spell: Spell, text: str) -> None:
    assert decoder.decode(spell(text)) == Command(None, {})


def test_no_sound_gives_none(decoder: CommandDecoder) -> None:
    assert decoder.decode(np.zeros((0, ALPHABET.classes), np.float32)) == Command(None, {})
    noise = np.log(np.random.default_rng(0).dirichlet(np.ones(ALPHABET.classes), 300)).astype(np.float32)
    assert decoder.decode(noise) == Command(None, {})


def test_answers_are_valid_whatever_is_heard(decoder: CommandDecoder, lamp: CommandGrammar) -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        scores = np.log(rng.dirichlet(np.full(ALPHABET.classes, 0.05), int(rng.integers(1, 200))) + 1e-20)
        command, _ = decoder.best(scores.astype(np.float32))
        assert command.intent in (None, *lamp.intents)
        assert command.intent or not command.slots
        assert all(value in lamp.slots[slot] for slot, value in command.slots.items())
