"""Decoding, alignment and the loss against every way to say a text, counted one by one."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from ctc_reference import counted, said, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_audio_encoder.ctc import (
    BLANK,
    Alphabet,
    Mark,
    align,
    choose,
    greedy,
    log_probabilities,
    needed,
    prefix_beam,
)
from muomni_audio_encoder.model import build
from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_audio_encoder.recognizer import Recognizer, alignments, spelling_loss

ENGLISH = Alphabet(AudioEncoderConfig().characters)


sizes = {"tokens": st.integers(1, 5), "classes": st.integers(2, 4), "seed": st.integers(0, 999)}


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_a_wide_beam_finds_every_text_and_its_probability(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    totals = {text: math.log(sum(math.exp(way) for way, _ in ways)) for text, ways in counted(scores).items()}
    found = prefix_beam(scores, width=1000, narrow=math.inf)
    assert {tuple(text) for text, _ in found} == totals.keys()
    assert [score for _, score in found] == pytest.approx(sorted(totals.values(), reverse=True))
    assert all(score == pytest.approx(totals[tuple(text)]) for text, score in found)


@settings(max_examples=25, deadline=None)
@given(**sizes)
def test_alignment_is_the_likeliest_way_to_say_a_text(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    for text, ways in counted(scores).items():
        best = max(way for way, _ in ways)
        marks = align(scores, text)
        assert tuple(mark.symbol for mark in marks) == text
        path = [BLANK] * tokens
        for mark in marks:
            path[mark.begin : mark.end] = [mark.symbol] * (mark.end - mark.begin)
        assert said(tuple(path)) == text
        assert scores[range(tokens), path].sum() == pytest.approx(best)
        assert needed(text) <= tokens


@settings(max_examples=15, deadline=None)
@given(**sizes)
def test_the_loss_is_the_probability_of_a_text(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    for text, ways in itertools.islice(counted(scores).items(), 1, 6):
        expected = -math.log(sum(math.exp(way) for way, _ in ways))
        assert spelling_loss(torch.from_numpy(scores)[None], [tokens], [text]).item() == pytest.approx(expected)


def test_a_beam_may_know_better_than_the_best_of_every_token() -> None:
    scores = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert greedy(scores) == []  # blank, blank: 0.36
    text, score = prefix_beam(scores)[0]
    assert text == [1]
    assert math.exp(score) == pytest.approx(0.64)


def test_greedy_joins_runs_drops_blanks_and_says_when() -> None:
    scores = np.log(np.eye(4)[[0, 2, 2, 0, 2, 3, 3]] * 0.97 + 0.01)
    assert greedy(scores) == [Mark(2, 1, 3), Mark(2, 4, 5), Mark(3, 5, 7)]


@settings(max_examples=15, deadline=None)
@given(**sizes)
def test_the_probability_of_each_of_some_texts(tokens: int, classes: int, seed: int) -> None:
    scores = scored(tokens, classes, seed)
    ways = counted(scores)
    expected = [math.log(sum(math.exp(way) for way, _ in found)) for found in ways.values()]
    assert log_probabilities(scores, [*ways, (1,) * (tokens + 1)]).tolist() == pytest.approx([*expected, -math.inf])
    assert list(ways)[choose(scores, list(ways))] == list(ways)[int(np.argmax(expected))]


def test_the_probability_of_a_text_is_torch_s() -> None:
    scores, texts = scored(40, 28, 5), [[5, 5, 9, 1, 27], [3], [4, 4, 4, 4], list(range(1, 28))]
    found = log_probabilities(scores, texts)
    for text, value in zip(texts, found, strict=True):
        loss = torch.nn.functional.ctc_loss(
            torch.from_numpy(scores)[:, None], torch.tensor([text]), [40], [len(text)], reduction="sum"
        )
        assert value == pytest.approx(-loss.item(), rel=1e-9)


def batch_of_scores() -> tuple[torch.Tensor, list[int], list[list[int]]]:
    lengths, texts = [60, 33, 12, 5], [[5, 5, 9, 1, 27, 3, 3, 3, 8], [1, 2, 1], [], [7, 7, 7]]
    return torch.from_numpy(np.stack([scored(60, 28, seed) for seed in range(4)])).float(), lengths, texts


def test_alignment_of_many_agrees_with_torchaudio() -> None:
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio does not import here: {error}")
    scores, lengths, texts = batch_of_scores()
    found = alignments(scores, lengths, texts)
    for row, length, text, marks in zip(scores.numpy(), lengths, texts, found, strict=True):
        assert marks == align(row[:length], text)
    with pytest.raises(ValueError, match="4 tokens cannot say 3 characters, 5 are needed"):
        alignments(scores[3:], [4], texts[3:])


def test_alignment_of_many_needs_no_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, lengths, texts = batch_of_scores()
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    rows = zip(scores.numpy(), lengths, texts, strict=True)
    assert alignments(scores, lengths, texts) == [align(row[:length], text) for row, length, text in rows]


def test_a_text_that_cannot_be_said_in_time() -> None:
    assert needed([1, 1, 2]) == 4
    with pytest.raises(ValueError, match="3 tokens cannot say 3 characters, 4 are needed"):
        align(scored(3, 4, 0), [1, 1, 2])
    assert align(scored(3, 4, 0), []) == []


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Hello, World!", "hello world"),
        ("Don\N{RIGHT SINGLE QUOTATION MARK}t  caf\N{LATIN SMALL LETTER E WITH ACUTE}--now", "don't cafe now"),
        ("cafe\N{COMBINING ACUTE ACCENT}", "cafe"),
        ("\N{LATIN SMALL LIGATURE FI}ne 42", "fine"),
        ("...", ""),
    ],
)
def test_spelling(text: str, spelled: str) -> None:
    assert ENGLISH.spell(text) == spelled
    assert ENGLISH.decode(ENGLISH.encode(text)) == spelled


def test_an_alphabet_keeps_the_accents_that_it_has() -> None:
    assert Alphabet(" caf\N{LATIN SMALL LETTER E WITH ACUTE}").spell("CAFE\N{COMBINING ACUTE ACCENT}") == (
        "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    )
    assert Alphabet("ab").encode("a b") == [1, 2]
    with pytest.raises(ValueError, match="'a' more than once"):
        AudioEncoderConfig(characters="abca")


def test_it_learns_to_spell_what_it_hears(voice: Callable[..., NDArray[np.float64]]) -> None:
    """Two sounds, in either order, spelled in order: the encoder, the head and the decoders together."""
    torch.manual_seed(0)
    config = AudioEncoderConfig(n_mels=32, channels=8, d_model=32, n_layers=2, n_heads=2, d_ff=64, characters="lh")
    model = Recognizer(build(config))
    sounds = {"l": voice(16000, 0.25, 110.0), "h": voice(16000, 0.25, 300.0)}
    texts = ["l", "h", "lh", "hl", "llh", "hlh"]
    waves = [np.concatenate([sounds[letter] for letter in text]).astype(np.float32) for text in texts]
    lengths = [wave.size for wave in waves]
    batch = torch.stack([torch.from_numpy(np.pad(wave, (0, max(lengths) - wave.size))) for wave in waves])
    classes = [model.alphabet.encode(text) for text in texts]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(100):
        scores, counts = model(batch, lengths)
        loss = spelling_loss(scores, counts, classes) / len(texts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for row, count, text in zip(scores.detach().numpy(), counts, texts, strict=True):
        heard = row[:count]
        assert model.alphabet.decode([mark.symbol for mark in greedy(heard)]) == text
        assert model.alphabet.decode(prefix_beam(heard)[0][0]) == text
