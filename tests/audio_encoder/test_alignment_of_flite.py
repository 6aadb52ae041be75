"""An encoder that is trained for half a minute tells when unseen sentences of a teacher's voice were said."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from flite_word_times import VOICE, word_times
from numpy.typing import NDArray

from muomni_cli.api import CharSpan

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite, whose timings are known, is not here"),
]

RECIPE = f"""
name = "timing"
[data]
val_fraction = 0.1
[encoders.audio]
use = "listener"
n_mels = 40
channels = 16
d_model = 64
n_layers = 2
n_heads = 2
d_ff = 192
augment = {{ speed = 0.0, shift = 0.2, gain = 3.0, noise = 0.0, babble = 0.0, time_masks = 1, bin_masks = 1 }}
[[data.audio]]
use = "spoken"
voices = ["{VOICE}"]
count = 400
stretch = [0.95, 1.1]
pitch = [0.97, 1.03]
patterns = [
  "{{d}}", "{{d}} {{d}} {{d}}", "{{d}} {{d}} {{d}} {{d}} {{d}}",
  "turn {{onoff}} the {{room}} {{thing}}", "{{move}} {{d}} steps",
]
slots.d = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
slots.onoff = ["on", "off"]
slots.room = ["kitchen", "bathroom", "bedroom", "garden", "office"]
slots.thing = ["light", "lamp", "fan", "radio", "heater"]
slots.move = ["go", "move", "walk", "jump"]
[train.audio]
steps = 300
batch_size = 16
threads = 1
optimizer = "muon"
lr = 2e-3
muon_lr = 0.02
schedule = "wsd"
warmup_steps = 30
decay_fraction = 0.4
weight_decay = 0.02
ema = 0.97
val_every = 300
save_every = 300
"""

UNSEEN = [
    "nine zero four one seven two", "three three eight", "six one five two eight nine", "walk seven steps",
    "turn off the garden radio", "turn on the bedroom fan", "seven four zero eight", "one nine six three five",
    "jump two steps", "turn off the office light", "eight two six zero nine one", "five four three two one zero",
]  # fmt: skip


@pytest.fixture(scope="module")
def aligner(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from muomni_cli.models.engines import CAN_TRANSCRIBE, open_engine

    folder = tmp_path_factory.mktemp("timing")
    (folder / "timing.toml").write_text(RECIPE)
    root = Path(__file__).parents[2]
    paths = os.pathsep.join(map(str, (root, root / "plugins", root / "exports")))
    surroundings = {**os.environ, "PYTHONPATH": paths, "MUOMNI_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "muomni_cli", "train", "audio", "timing.toml"]
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return open_engine("timing", CAN_TRANSCRIBE, device="cpu", runs=folder / "runs").transcriber()


def heard(path: Path) -> NDArray[np.float32]:
    wave: NDArray[np.float32] = soundfile.read(path, dtype="float32")[0]
    return wave


def words_of(text: str, spans: Sequence[CharSpan]) -> list[tuple[float, float]]:
    words = [[one for one in spans if m.start() <= one.start_char < m.end()] for m in re.finditer(r"\S+", text)]
    return [(word[0].start, word[-1].end) for word in words]


def test_words_of_unseen_sentences_are_found(aligner: Any, tmp_path: Path) -> None:
    told = [word_times(text, tmp_path / f"{row}.wav") for row, text in enumerate(UNSEEN)]
    waves = [heard(tmp_path / f"{row}.wav") for row in range(len(UNSEEN))]
    errors = [
        np.array(words_of(text, spans)) - np.array(known)
        for text, spans, known in zip(UNSEEN, aligner.align(waves, UNSEEN), told, strict=True)
        if known is not None
    ]
    assert len(errors) > len(UNSEEN) // 2, "of most it is known when they were said"
    wrong = np.concatenate(errors).ravel()
    assert np.median(np.abs(wrong)) < 0.04
    assert abs(np.median(wrong)) < 0.02, "neither early nor late"


def test_a_shifted_sound_shifts_the_spans(aligner: Any, tmp_path: Path) -> None:
    for text in UNSEEN[:4]:
        word_times(text, tmp_path / "said.wav")
        wave = heard(tmp_path / "said.wav")
        shifted = np.concatenate([np.zeros(4800, np.float32), wave])
        plain, later = aligner.align([wave, shifted], [text, text])
        moved = [other.start - one.start for one, other in zip(plain, later, strict=True)]
        assert np.median(moved) == pytest.approx(0.3, abs=0.02)
        assert later[0].start - plain[0].start == pytest.approx(0.3, abs=0.01), "silence is in no span"
