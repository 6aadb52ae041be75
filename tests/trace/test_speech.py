"""The specification's dry run, part 5: text to tokens, a bound, codes, log-mel, samples, at the sizes of omni.toml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs_of_tiny_parts import make_voice

Steps = Callable[..., list[dict[str, Any]]]
Command = Callable[..., tuple[int, str, str]]

TEXT = "This is a test."
OMNI = Path(__file__).parents[2] / "recipes/omni.toml"


def of(found: list[dict[str, Any]], section: str) -> dict[str, dict[str, Any]]:
    """The steps of a section by name: the first of each."""
    return {step["step"]: step for step in reversed(found) if step["section"] == section}


@pytest.mark.parametrize("talker", ["cursor", "parallel"])
def test_the_sizes_of_the_specification(talker: str, here: Path, steps: Steps) -> None:
    (here / "speaks.toml").write_text(OMNI.read_text().replace('use = "cursor"', f'use = "{talker}"'))
    found = steps(TEXT, "--speech", "--recipe", "speaks.toml", "--tokens", "1")
    assert [s["step"] for s in found if s["section"] == "text again"] == ["decode"]  # the answer is traced as well
    text = of(found, "spoken text")
    assert text["tokenize"]["out"] == [[len(TEXT)]]  # bytes stand in for the untrained tokenizer
    assert len(text["tokenize"]["ids"]) == len(TEXT)
    said = of(found, "talker")
    assert said["bound"]["max_frames"] == 120  # 30 for each of the 4 words
    assert "120 frames, 9.6 s" in said["bound"]["counts"]
    codes = of(found, "codes")["codes"]
    count = codes["frames"]
    assert 0 < count <= 120
    assert codes["out"] == [[1, count, 2]]
    assert f"= {2 * count:,} code indices" in codes["counts"]
    assert said["characters"]["out"][0][2] == 128
    assert said["transformer"]["out"][0][2] == 160
    codec = of(found, "codec")
    assert (codec["decoder"]["in"], codec["decoder"]["out"]) == ([[1, count, 2]], [[1, 8 * count, 128]])
    assert codec["codes to frames"]["out"] == [[1, count, 128]]
    assert codec["frames to log-mel"]["in"] == [[1, count, 128]]
    assert set(codec) == {"decoder", "codes to frames", "frames to log-mel"}
    vocoder = of(found, "vocoder")["vocoder"]
    assert (vocoder["in"], vocoder["out"]) == ([[1, 8 * count, 128]], [[1, 1280 * count]])
    assert f"{1280 * count:,} samples: {0.08 * count:g} s at 16,000 Hz" in vocoder["counts"]


def test_a_run_that_cannot_think_speaks_what_it_is_given(here: Path, steps: Steps) -> None:
    make_voice(here)
    found = steps("Hello there", "--speech", "-m", "small")
    assert list(dict.fromkeys(s["section"] for s in found)) == ["spoken text", "talker", "codes", "codec", "vocoder"]
    assert of(found, "spoken text")["words"]["out"] == [[2]]
    assert of(found, "talker")["bound"]["max_frames"] == 60
    assert 0 < of(found, "codes")["codes"]["frames"] <= 60


def test_the_bound_is_that_of_each_sentence_as_it_is_spoken(here: Path, steps: Steps) -> None:
    make_voice(here)
    bound = of(steps("One two three. 1234 supercalifragilistic!", "--speech", "-m", "small"), "talker")["bound"]
    signs = sum(map(len, ["twelve", "thirty", "four", "supercalifragilistic!"]))  # 6 each, more than 30 for each word
    assert bound["counts"].startswith(f"90 + {6 * signs} = {90 + 6 * signs} frames")
    assert bound["max_frames"] == 90 + 6 * signs


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("", "-m", "small"), "there is nothing to speak"),
        (("\U0001f600", "-m", "small"), "nothing of this text can be spoken"),
        (("hello", "-m", "small", "--image", "x.png"), "has no Thinker"),
        (("hello", "--recipe", "deaf.toml"), "with a codec"),
        (("hello", "-m", "nobody"), "there is no model 'nobody'"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, here: Path, muomni: Command) -> None:
    make_voice(here)
    (here / "deaf.toml").write_text('[talker]\nuse = "cursor"\n')
    code, out, err = muomni(*words, "--speech")
    assert (code, out) == (2, "")
    assert what in err
    assert "Traceback" not in err
