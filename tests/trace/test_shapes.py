"""The specification's dry run, parts 1 to 4: every shape, on ``recipes/omni.toml`` with fresh weights.

The text has eight bytes: bytes stand in for the untrained tokenizer, and make the specification's nine ids of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Steps = Callable[..., list[dict[str, Any]]]

IMAGE = [
    ("read", [], [[3, 224, 224]], "150,528 numbers"),
    ("encoder", [[3, 224, 224]], [[1, 256]], "1 image -> 1 token"),
    ("patch embedding", [[1, 3, 224, 224]], [[1, 128, 14, 14]], "150,528 pixels -> 196 patches"),
    ("reshape", [[1, 128, 14, 14]], [[1, 196, 128]], "14 x 14 patches -> 196 patches"),
    ("CLS token", [[1, 196, 128]], [[1, 197, 128]], "196 patches -> 197 tokens"),
    ("positions", [[1, 197, 128]], [[1, 197, 128]], ""),
    *((f"block {n} of 4", [[1, 197, 128]], [[1, 197, 128]], "197 tokens -> 197 tokens") for n in (1, 2, 3)),
    ("block 4 of 4", [[1, 197, 128]], [[1, 1, 128]], "197 tokens -> 1 token"),
    ("final norm", [[1, 1, 128]], [[1, 1, 128]], ""),
    ("projector", [[1, 1, 128]], [[1, 1, 256]], "1 token of 128 -> 1 token of 256"),
]
AUDIO = [
    ("read", [], [[16000]], "16,000 numbers"),
    ("encoder", [[16000]], [[25, 256]], "1 audio -> 25 tokens"),
    ("mel spectrogram", [[1, 16000]], [[1, 100, 128]], "16,000 samples -> 100 mel frames"),
    ("convolution 1 of 2", [[1, 1, 100, 128]], [[1, 64, 50, 64]], "100 frames -> 50 frames, 128 bins -> 64 bins"),
    ("convolution 2 of 2", [[1, 64, 50, 64]], [[1, 64, 25, 32]], "50 frames -> 25 frames, 64 bins -> 32 bins"),
    ("reshape", [[1, 64, 25, 32]], [[1, 25, 2048]], "64 channels x 32 bins -> 2,048 numbers a frame"),
    ("projection", [[1, 25, 2048]], [[1, 25, 192]], "25 frames -> 25 tokens of 192"),
    *((f"block {n} of 4", [[1, 25, 192]], [[1, 25, 192]], "25 tokens -> 25 tokens") for n in (1, 2, 3, 4)),
    ("final norm", [[1, 25, 192]], [[1, 25, 192]], ""),
    ("projector", [[1, 25, 192]], [[1, 25, 256]], "25 tokens of 192 -> 25 tokens of 256"),
]


def embedding(count: int) -> tuple[str, list[list[int]], list[list[int]], str]:
    return ("token embedding", [[1, count]], [[1, count, 256]], f"{count} ids -> {count} embeddings")


def thinker(count: int, ids: bool) -> list[tuple[str, list[list[int]], list[list[int]], str]]:
    """What happens to ``count`` tokens, given as ids or as embeddings."""
    wide, heads, same = [[1, count, 256]], [1, 4, count, 64], f"{count} tokens -> {count} tokens"
    return [
        ("thinker", [[1, count]] if ids else wide, [[1, count, 5000], [1, count, 256]],
         f"{count} tokens -> {count} sets of logits; the cache holds {count}"),
        *([embedding(count)] if ids else []),
        ("block 1 of 4", wide, wide, same),
        ("norm", wide, wide, ""),
        ("attention", wide, wide, f"4 heads, scores of {count} x {count}"),
        ("queries, keys, values", wide, [heads] * 3, f"{count} tokens at positions 0 to {count - 1}, 4 heads of 64"),
        ("mixing", [heads], [heads], f"4 heads x {count} tokens"),
        ("norm", wide, wide, ""),
        ("MLP", wide, wide, ""),
        *((f"block {n} of 4", wide, wide, same) for n in (2, 3, 4)),
        ("final norm", wide, wide, ""),
        ("head", wide, [[1, count, 5000]], f"{count} tokens -> {count} x 5,000 logits"),
    ]  # fmt: skip


def shown(steps: list[dict[str, Any]], section: str) -> list[tuple[str, Any, Any, str]]:
    return [(s["step"], s["in"], s["out"], s["counts"]) for s in steps if s["section"] == section]


def test_text(here: Path, steps: Steps) -> None:  # noqa: ARG001 (part 1)
    found = steps("Hello", "--recipe", "omni", "--tokens", "3")
    (tokenize,) = shown(found, "text")
    assert tokenize[:3] == ("tokenize", [], [[6]])
    assert tokenize[3].startswith("5 characters -> 6 ids: <bos> (1) 'H' (78) ")
    assert found[0]["ids"] == [1, *(6 + byte for byte in b"Hello")]
    assert shown(found, "thinker") == thinker(6, ids=True)
    last, probabilities, choice = (s for s in found if s["section"] == "next token")
    assert (last["in"], last["out"], last["counts"]) == ([[1, 6, 5000]], [[5000]], "6 sets of logits -> 1")
    assert len(probabilities["likeliest"]) == 5
    assert choice["token"] == probabilities["likeliest"][0]["token"]
    generated = [s for s in found if s["section"] == "generation"]
    assert [s["step"] for s in generated] == ["token 2", "token 3"]
    assert [s["cache"] for s in generated] == [7, 8]
    assert generated[0]["counts"].startswith("cache 6 -> 7 tokens; then comes ")
    assert all((s["in"], s["out"][0]) == ([[1, 1]], [1, 1, 5000]) for s in generated)
    (decode,) = (s for s in found if s["section"] == "text again")
    assert decode["ids"] == [choice["token"], *(s["token"] for s in generated)]


def test_image_and_text(here: Path, steps: Steps) -> None:  # noqa: ARG001 (part 2)
    found = steps("a seven", "--image", "x.png", "--recipe", "omni", "--tokens", "1")
    assert shown(found, "image: x.png") == IMAGE
    assert shown(found, "text")[1] == embedding(8)
    assert shown(found, "sequence") == [
        ("fusion", [[1, 1, 256], [1, 8, 256]], [[1, 9, 256]], "[image] [text]: 1 + 8 = 9 tokens")
    ]
    assert shown(found, "thinker") == thinker(9, ids=False)


def test_audio_and_text(here: Path, steps: Steps) -> None:  # noqa: ARG001 (part 3)
    found = steps("what", "--audio", "y.wav", "--recipe", "omni", "--tokens", "1")
    assert shown(found, "audio: y.wav") == AUDIO
    assert shown(found, "text")[1] == embedding(5)
    assert shown(found, "sequence") == [
        ("fusion", [[1, 25, 256], [1, 5, 256]], [[1, 30, 256]], "[audio] [text]: 25 + 5 = 30 tokens")
    ]
    assert shown(found, "thinker") == thinker(30, ids=False)


@pytest.mark.parametrize("order", [("--image", "x.png", "--audio", "y.wav"), ("--audio", "y.wav", "--image", "x.png")])
def test_image_audio_and_text(order: tuple[str, ...], here: Path, steps: Steps) -> None:  # noqa: ARG001 (part 4)
    found = steps("Describe", *order, "--recipe", "omni", "--tokens", "1")
    assert list(dict.fromkeys(s["section"] for s in found)) == [
        "image: x.png", "audio: y.wav", "text", "sequence", "thinker", "next token", "text again",
    ]  # fmt: skip
    assert shown(found, "image: x.png") == IMAGE
    assert shown(found, "audio: y.wav") == AUDIO
    assert shown(found, "text")[1] == embedding(9)
    assert shown(found, "sequence") == [
        (
            "fusion",
            [[1, 1, 256], [1, 25, 256], [1, 9, 256]],
            [[1, 35, 256]],
            "[image] [audio] [text]: 1 + 25 + 9 = 35 tokens",
        )
    ]
    assert shown(found, "thinker") == thinker(35, ids=False)


def test_inner_steps_lie_inside_and_take_less(here: Path, steps: Steps) -> None:  # noqa: ARG001
    found = steps("Describe", "--image", "x.png", "--recipe", "omni")
    inner = {"encoder": 0, "patch embedding": 1, "projector": 1, "thinker": 0, "attention": 2, "mixing": 3, "head": 1}
    assert {s["step"]: s["depth"] for s in found if s["step"] in inner} == inner
    for outer in ("encoder", "thinker"):
        (whole,) = (s for s in found if s["step"] == outer)
        parts = [s["ms"] for s in found if s["section"] == whole["section"] and s["depth"] == 1]
        assert 0 < sum(parts) <= whole["ms"] + 0.01


def test_a_sound_that_is_too_long_is_cut_to_its_share(
    here: Path,  # noqa: ARG001
    muomni: Callable[..., tuple[int, str, str]],
) -> None:
    soundfile.write("long.wav", np.zeros(16000 * 6), 16000)
    code, out, err = muomni("hm", "--audio", "long.wav", "--recipe", "omni", "--tokens", "1")
    assert code == 0
    assert "128 + 3 = 131 tokens" in out
    assert err.count("its first 128 of 150 tokens are used") == 1
