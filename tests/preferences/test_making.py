"""``muomni data preferences``: which utterances make a pair, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.voice import preferences
from muomni_cli.voice.preferences import pairs_of
from tests.preferences.conftest import Muomni, table

SPEECH = table(
    "[data.speech]", use="spoken", sentences=["The fox ran.", "A hen laid an egg.", "The dog sat down.", "We go home."]
)


def samples(*rows: tuple[int, float]) -> list[dict[str, Any]]:
    return [{"errors": errors, "log_prob": nats, "codes": [[place]]} for place, (errors, nats) in enumerate(rows)]


def errors_of(pairs: list[Any]) -> list[tuple[int, int]]:
    return [(best["errors"], worst["errors"]) for best, worst in pairs]


def test_the_best_is_paired_with_the_worst_and_ties_give_nothing() -> None:
    assert errors_of(pairs_of(samples((2, 0.0), (0, -1.0), (1, 0.0), (3, 0.0), (0, 0.0), (1, 0.0)))) == [(0, 3), (0, 2)]
    assert pairs_of(samples((1, 0.0), (1, -1.0), (1, -2.0))) == []
    assert errors_of(pairs_of(samples((1, 0.0), (0, 0.0)))) == [(0, 1)]
    best, worst = pairs_of(samples((0, -5.0), (0, -2.0), (4, -9.0), (4, -3.0)))[0]
    assert (best["codes"], worst["codes"]) == ([[1]], [[3]])  # the likelier of equal ones


def test_pairs_are_made_of_the_training_sentences_and_an_interrupted_command_goes_on(
    here: Path, muomni: Muomni, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed: pip install 'muomni[eval]'")
    recipe = here / "whole.toml"
    recipe.write_text(recipe.read_text() + SPEECH)
    heard = iter(range(1000))
    # what random weights say is no language: the recognizer is told what to hear, by turns something and nothing
    monkeypatch.setattr(preferences.Recognizer, "transcribe", lambda *_: (" ".join(["fox"] * 15), "")[next(heard) % 2])

    def make(folder: str, *words: str) -> int:
        return muomni("data", "preferences", "whole.toml", "-o", folder, "--samples", "3", *words)

    assert make("once", "--count", "3", "--temperature", "1.5") == 0
    whole = capsys.readouterr().out.strip()
    assert whole == "once/pairs.jsonl"
    rows = [json.loads(line) for line in Path(whole).read_text().splitlines()]
    assert all(row["chosen_errors"] < row["rejected_errors"] and row["chosen"] != row["rejected"] for row in rows)

    heard = iter(range(1000))
    assert make("twice", "--count", "1", "--temperature", "1.5") in (0, 2)
    with Path("twice/samples.jsonl").open("a") as file:
        file.write('{"text": "cut off')  # as a killed process leaves it
    assert make("twice", "--count", "3", "--temperature", "1.5") == 0
    assert Path("twice/samples.jsonl").read_text() == Path("once/samples.jsonl").read_text()
    assert Path("twice/pairs.jsonl").read_text() == Path("once/pairs.jsonl").read_text()

    capsys.readouterr()
    assert make("twice", "--count", "3", "--temperature", "0.5") == 2
    assert "holds samples of another temperature" in capsys.readouterr().err
    for words, told in (
        (("--temperature", "0"), "are all the same"),
        (("--voice", "eve"), "no voice 'eve'"),
        (("-m", "runs/none"), "runs/none"),
    ):
        assert make("other", *words) == 2
        assert told in capsys.readouterr().err

    # and a Talker is tuned on what was made
    words = ("train.talker_dpo.steps=2", 'data.talker_dpo=[{use="preferences", path="once/pairs.jsonl"}]')
    assert muomni("train", "talker_dpo", "whole.toml", *words) == 0
