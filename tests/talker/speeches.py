"""Speeches that come and go at random, decoded together, and what each is alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import TextChunk, VoiceSettings
from muomni_cli.generation.loop import Sampling, draw

WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog,", "and", "sleeps.", "it", "wakes!", "no")


def speech(talker: Any, number: int, *, together: bool) -> Iterator[NDArray[Any]]:
    """Codes (n,Q) of a text, voice, speed, seed and temperature that depend on the number; every third text comes with
    the states of a Thinker."""
    random = np.random.default_rng(number)
    words = random.choice(WORDS, random.integers(1, 9)).tolist()
    width = getattr(talker, "thinker_width", 0)
    chunks = [
        TextChunk(f"{word} ", random.standard_normal(width, np.float32) if width and number % 3 == 0 else None)
        for word in words
    ]
    voice = str(random.choice(talker.voices)) if any(talker.voices) else None
    settings = VoiceSettings(voice, float(random.choice([0.9, 1.0, 1.1])), together)
    sampling = Sampling(temperature=float(random.choice([0, 0.8])))
    sampler = partial(draw, sampling=sampling, rng=np.random.default_rng(number))
    made: Iterator[NDArray[Any]] = talker.speak(chunks, settings, sampler)
    return made


def alone(talker: Any, count: int) -> list[NDArray[Any]]:
    return [np.concatenate(list(speech(talker, number, together=False))) for number in range(count)]


def together(talker: Any, count: int, random: np.random.Generator) -> tuple[list[NDArray[Any]], set[int]]:
    """The codes of speeches that begin at random, of which a third is abandoned at random; which were abandoned."""
    said: list[list[NDArray[Any]]] = [[] for _ in range(count)]
    abandoned: set[int] = set()
    waiting, running = list(range(count)), dict[int, Iterator[NDArray[Any]]]()
    leaving = {number for number in waiting if random.random() < 1 / 3}
    while waiting or running:
        if waiting and (not running or random.random() < 0.3):
            number = waiting.pop(0)
            running[number] = speech(talker, number, together=True)
        number = int(random.choice(list(running)))
        codes = next(running[number], None)
        if codes is None:
            del running[number]
            continue
        said[number].append(codes)
        if number in leaving and random.random() < 0.1:
            running.pop(number).close()  # type: ignore[attr-defined]
            abandoned.add(number)
    return [np.concatenate(codes) for codes in said], abandoned


def require_equal(said: list[NDArray[Any]], abandoned: set[int], one: list[NDArray[Any]]) -> None:
    """Everybody got what they get alone, up to where they left."""
    for number, (codes, own) in enumerate(zip(said, one, strict=True)):
        np.testing.assert_array_equal(codes, own[: len(codes)] if number in abandoned else own)
