"""``muomni eval``: what tiny trained models are scored by, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.commands.train import train

Run = Callable[..., tuple[int, str, str]]


def by_name(out: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(card["stage"], card["task"], card["metric"]): card for card in json.loads(out)}


def test_an_overfitted_model_is_perfect_at_all_of_it(run: Run) -> None:
    code, out, err = run("small", "--split", "train", "--json", "--limit", "24")
    assert code == 0, err
    cards = by_name(out)
    assert set(cards) == {
        ("thinker", "text", "bits_per_byte"),
        ("image", "colours", "accuracy"),
        ("audio", "tones", "exact"),
        ("audio", "tones", "choice"),
        ("omni", "text", "bits_per_byte"),
        ("omni", "world", "exact"),
        ("omni", "world/image", "exact"),
        ("omni", "world/audio", "exact"),
        ("omni", "world/image", "exchanged"),
        ("omni", "world/audio", "exchanged"),
    }
    for name, card in cards.items():
        if name[1] != "text":
            assert (card["value"], card["low"], card["high"]) == (1.0, 1.0, 1.0), name
    assert cards["image", "colours", "accuracy"]["n"] == 6
    assert cards["image", "colours", "accuracy"]["chance"] == pytest.approx(1 / 3)
    assert cards["audio", "tones", "choice"]["chance"] == 0.5
    assert cards["audio", "tones", "exact"]["chance"] is None
    assert cards["omni", "world", "exact"]["n"] == 24


def test_held_out_examples_are_what_is_asked_by_default(run: Run) -> None:
    code, out, _ = run("small.toml", "--json")
    assert code == 0
    cards = by_name(out)
    assert cards["image", "colours", "accuracy"]["n"] == 3
    assert cards["audio", "tones", "choice"]["n"] == 4
    assert cards["omni", "world", "exact"]["n"] == 24
    kinds = [cards["omni", f"world/{kind}", "exact"]["n"] for kind in ("image", "audio")]
    assert sum(kinds) == 24


def test_a_card_is_a_line(run: Run) -> None:
    code, out, _ = run("small", "--limit", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["STAGE", "TASK", "METRIC", "VALUE"]
    assert any(line.startswith("image") and "colours" in line and "accuracy" in line for line in lines)
    assert run("small", "--limit", "2")[1] == out


def test_captions_are_compared_word_for_word(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="captions"', "train.image.steps=150"], run="captions")
    code, out, _ = run("small.toml", "-m", "captions", "--split", "train", "--json")
    assert code == 0
    card = by_name(out)["image", "colours", "exact"]
    assert (card["value"], card["chance"]) == (1.0, None)


def test_contrast_is_asked_to_choose(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="contrast"', "train.image.steps=2"], run="contrast")
    code, out, err = run("small.toml", "-m", "contrast", "--json")
    assert code == 0
    assert by_name(out)["image", "colours", "retrieval"]["chance"] == pytest.approx(1 / 3)
    assert "left out: omni is not trained" in err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("nothing",), "nothing"),
        (("small", "-m", "nobody"), "there is no model 'nobody'"),
        (("small.toml", "data.image.0.path=nowhere"), "nowhere"),
        (("small", "--split", "test"), "there is no side 'test'"),
        (("small.toml", "-m", "text"), "nothing of run runs/text can be evaluated"),
        ((), "missing argument"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, run: Run) -> None:
    if "text" in words and not Path("runs/text").exists():
        train("tokenizer", "small.toml", run="text")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert what in err
    assert "Traceback" not in err


def test_an_encoder_without_answers_is_refused(run: Run) -> None:
    from muomni_cli.registry import get_registry

    part = get_registry().get("encoder", "vit").part
    train("image", "small.toml", ["train.image.steps=1"], run="eyes")
    answer = part.answer  # type: ignore[attr-defined]
    object.__setattr__(part, "answer", None)  # a declaration is frozen
    try:
        code, _, err = run("small.toml", "-m", "eyes")
    finally:
        object.__setattr__(part, "answer", answer)
    assert code == 2
    assert "image (vit) gives no answers" in err
