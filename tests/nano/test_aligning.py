"""nano's ears, which only its bundle has with their head, align texts and tell which of them was said."""

from __future__ import annotations

from pathlib import Path

import torch

from muomni_cli.audio.io import read
from muomni_cli.training.context import aligner_of
from muomni_nano import SAMPLES

SAID = {"timer": "set a timer for five minutes", "light": "turn on the kitchen light", "stop": "stop"}


def test_texts_are_aligned_without_a_run() -> None:
    aligner, config, weights = aligner_of("nano", "audio", torch.device("cpu"))
    assert weights.name == "muomni.json"
    for name, text in SAID.items():
        path = Path(SAMPLES) / "samples" / f"{name}.flac"
        with path.open("rb") as file:
            wave = read(config, file, path.name)
        fits = dict(zip(SAID, aligner.fit(wave, list(SAID.values())), strict=True))
        assert max(fits, key=lambda other: fits[other]) == name
        (spans,) = aligner.align([wave], [text])
        assert spans is not None
        times = [one.start for one in spans] + [spans[-1].end]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= len(wave) / config.sample_rate
    assert aligner.fit(wave, ["", "a" * 500]) == [float("-inf")] * 2
