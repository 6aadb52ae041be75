"""Coloured squares and tones to ask questions about; lets the tests of this folder import ``small``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small import COLOURS, RECIPE, TONES, conversation, paint, play


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with ``small.toml``, and questions about six pictures and four sounds."""
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(RECIPE)
    Path("text.txt").write_text("".join(f"Line {n}: what colour? red green blue low high {n}.\n" for n in range(99)))
    lines = []
    for split, shade in (("train", 0), ("train", 12), ("val", 6)):
        for colour in COLOURS:
            picture = paint(Path(f"{colour}{shade}.png"), colour, shade).name
            lines.append(conversation("What colour?", colour, split, image=picture))
            for tone in TONES:
                sound = play(Path(f"{tone}{shade}.wav"), tone, 0.3 + shade / 100, shade).name
                lines.append(conversation("Which tone?", tone, split, audio=sound, image=picture))
                lines.append(conversation("What colour?", colour, split, audio=sound, image=picture))
    Path("world.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path
