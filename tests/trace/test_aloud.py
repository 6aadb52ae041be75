"""The specification's dry run, part 5: text to tokens, a bound, codes, log-mel, samples, at the sizes of omni.toml."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from muomni_cli.recipe import load_recipe
from muomni_cli.runs.folder import RunFolder, part_entry
from muomni_cli.runs.parts import build_part
from muomni_cli.training.checkpoint import model_tensors, write_checkpoint

Steps = Callable[..., list[dict[str, Any]]]
Command = Callable[..., tuple[int, str, str]]

TEXT = "This is a test."
OMNI = Path(__file__).parents[2] / "recipes/omni.toml"
SPEAKS = '\n[codec]\nuse = "rvq"\n\n[vocoder]\nuse = "griffin-lim"\niterations = 1\n\n[talker]\nuse = "{talker}"\n'
SMALL = "d_text = 16\ntext_layers = 1\nd_model = 16\nn_layers = 1\nn_heads = 2\nd_ff = 16\n"


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
    assert text["bound"]["max_frames"] == 450
    assert "max(50, min(1000, 30 x 15)) = 450 frames, 36 s" in text["bound"]["counts"]
    said = of(found, "talker")
    codes = of(found, "codes")["codes"]
    count = codes["frames"]
    assert 0 < count <= 450
    assert codes["out"] == [[1, count, 2]]
    assert f"= {2 * count:,} code indices" in codes["counts"]
    assert said["characters"]["out"][0][2] == 160
    assert said["transformer"]["out"][0][2] == 224
    codec = of(found, "codec")
    assert (codec["decoder"]["in"], codec["decoder"]["out"]) == ([[1, count, 2]], [[1, 8 * count, 128]])
    assert codec["codes to frames"]["out"] == [[1, count, 128]]
    assert codec["frames to log-mel"]["in"] == [[1, count, 128]]
    assert set(codec) == {"decoder", "codes to frames", "frames to log-mel"}
    vocoder = of(found, "vocoder")["vocoder"]
    assert (vocoder["in"], vocoder["out"]) == ([[1, 8 * count, 128]], [[1, 1280 * count]])
    assert f"{1280 * count:,} samples: {0.08 * count:g} s at 16,000 Hz" in vocoder["counts"]


def make_run(here: Path) -> None:
    """A run that speaks and cannot think, with random weights, as training leaves it."""
    (here / "small.toml").write_text(SPEAKS.format(talker="cursor") + SMALL)
    recipe, run = load_recipe("small.toml"), RunFolder(here / "runs/small")
    run.root.mkdir(parents=True)
    run.recipe_path.write_text((here / "small.toml").read_text())
    torch.manual_seed(0)
    for stage in ("codec", "talker"):
        chosen = recipe.parts[stage]
        shape = {"codes": {"codebooks": 2, "size": 128, "seconds": 0.08}, "voices": ["ann"], "thinker_width": 0}
        more = shape if stage == "talker" else {}
        module = build_part(chosen.registered, chosen.config, more)
        write_checkpoint(run.stage(stage) / "last.safetensors", {"step": 1}, {"model": model_tensors(module)})
        run.record(stage, {"status": "finished"}, part_entry(chosen.registered, chosen.config, "", **more))


def test_a_run_that_cannot_think_speaks_what_it_is_given(here: Path, steps: Steps) -> None:
    make_run(here)
    found = steps("Hello there", "--speech", "-m", "small")
    assert list(dict.fromkeys(s["section"] for s in found)) == ["spoken text", "talker", "codes", "codec", "vocoder"]
    assert of(found, "spoken text")["words"]["out"] == [[2]]
    assert of(found, "spoken text")["bound"]["max_frames"] == 60
    assert 0 < of(found, "codes")["codes"]["frames"] <= 60


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("", "-m", "small"), "there is nothing to speak"),
        (("\U0001f600", "-m", "small"), "nothing of this text can be spoken"),
        (("hello", "-m", "small", "--image", "x.png"), "has no Thinker"),
        (("hello", "--recipe", "deaf.toml"), "has no codec"),
        (("hello", "-m", "nobody"), "there is no model 'nobody'"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, here: Path, muomni: Command) -> None:
    make_run(here)
    (here / "deaf.toml").write_text('[talker]\nuse = "cursor"\n')
    code, out, err = muomni(*words, "--speech")
    assert (code, out) == (2, "")
    assert what in err
    assert "Traceback" not in err
