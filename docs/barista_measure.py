"""Measures the model barista on Picovoice's recordings of orders, clean and in two noises, for docs/barista.md.

    python docs/barista_measure.py MODEL ORDERS.tar SPEECH_COMMANDS.tar clean
    python docs/barista_measure.py MODEL ORDERS.tar SPEECH_COMMANDS.tar babble 6 9 12 15 18 21 24

ORDERS.tar holds FLAC files and labels.json: file -> intent and slots. SPEECH_COMMANDS.tar holds
``word/speaker_*.flac``; babble is made of speakers that no training has heard. A command is right when its intent and
all its slots are, and no others are given.

The signal-to-noise ratio is that of Picovoice's speech-to-intent-benchmark: the energy of the loudest frame of 2,048
samples of the speech against that of the noise. Shapes: N samples.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from muomni_cli import Model, load
from muomni_cli.core.interval import bootstrap

Wave = NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[1]
RATE, FRAME = 16_000, 2_048
VOICES = 8  # of the babble, at a time
SOFTEST = -8.0  # dB of the softest word of the babble


def members(path: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the files of an archive."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile() and wanted(member.name) and (file := archive.extractfile(member)):
                yield member.name.rpartition("./")[2], file.read()


def samples(content: bytes) -> Wave:
    wave, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == RATE, f"{rate} Hz"
    return np.asarray(wave, np.float32)


def orders(path: str) -> list[tuple[Wave, dict[str, str]]]:
    """Recordings with their intent and slots, by name."""
    files = dict(members(path, lambda _: True))
    labels = json.loads(files.pop("labels.json"))
    return [(samples(files[name]), labels[name]) for name in sorted(labels)]


def held_out_words(path: str) -> list[Wave]:
    """Words of the speakers that the recipe holds out, each equally loud."""
    tables = tomllib.loads((ROOT / "recipes" / "barista.toml").read_text("utf-8"))["data"]["audio"]
    speakers = re.compile(next(table["holdout"][0] for table in tables if "holdout" in table))

    def wanted(name: str) -> bool:
        word, _, file = name.rpartition("/")
        return file.endswith(".flac") and not word.rpartition("/")[2].startswith("_") and bool(speakers.match(file))

    return [normalized(samples(content)) for _, content in members(path, wanted)]


def normalized(wave: Wave) -> Wave:
    return np.asarray(wave / (np.sqrt(np.mean(np.square(wave))) + 1e-6), np.float32)


def babble(words: list[Wave], size: int, rng: np.random.Generator) -> Wave:
    """(size,) several people who say words, as in a café."""
    mixed = np.zeros(size, np.float32)
    for _ in range(VOICES):
        said: list[Wave] = []
        while sum(map(len, said)) < size:
            level = 10 ** (rng.uniform(SOFTEST, 0) / 20)
            said.append(words[int(rng.integers(len(words)))] * np.float32(level))
        mixed += np.concatenate(said)[:size]
    return mixed


def kitchen(size: int, rng: np.random.Generator) -> Wave:
    """(size,) three bands of noise that swell and fade, as of steam and water, and two clinks of dishes a second."""
    frequencies = np.fft.rfftfreq(size, 1 / RATE)
    mixed = np.zeros(size)
    for _ in range(3):
        center = np.exp(rng.uniform(np.log(300), np.log(5000)))
        width = center * rng.uniform(0.2, 0.7)
        shape = np.exp(-0.5 * ((frequencies - center) / width) ** 2)
        band = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)
        points = max(2, int(size / RATE * 2))
        swell = np.interp(np.arange(size), np.linspace(0, size, points), rng.gamma(1.0, 1.0, points))
        mixed += band / band.std() * swell
    for _ in range(int(size / RATE * 2)):
        begin = int(rng.integers(size))
        times = np.arange(min(size - begin, RATE // 4)) / RATE
        partials = [
            np.sin(2 * np.pi * rng.uniform(1500, 6500) * times) * np.exp(-times * rng.uniform(15, 60)) for _ in range(3)
        ]
        mixed[begin : begin + times.size] += rng.uniform(1, 4) * sum(partials)
    return mixed.astype(np.float32)


def loudest(wave: Wave) -> float:
    rows = wave[: wave.size // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    return float(np.square(rows).mean(1).max())


def noisy(wave: Wave, noise: Wave, decibels: float) -> Wave:
    gain = np.sqrt(loudest(wave) / loudest(noise) * 10 ** (-decibels / 10))
    return np.asarray(wave + noise * np.float32(gain), np.float32)


def hear(model: Model, wave: Wave, label: dict[str, str]) -> tuple[bool, list[bool]]:
    """Whether the command is right, and each of its slots."""
    heard = json.loads(model.chat(audio=(wave, RATE)))
    wanted = {slot: value for slot, value in label.items() if slot != "intent"}
    right = heard == {"intent": label["intent"], "slots": wanted}
    return right, [heard["slots"].get(slot) == value for slot, value in wanted.items()]


def main(spec: str, archive: str, speech_commands: str, kind: str, *levels: str) -> None:
    """Print the accuracy of the model ``spec`` at each of ``levels`` (dB, or "clean"), and their mean."""
    recordings = orders(archive)
    words = held_out_words(speech_commands) if kind == "babble" else []
    means = []
    with load(spec, threads=1) as model:
        for level in levels or ("clean",):
            rng = np.random.default_rng(1)
            commands: list[float] = []
            slots: list[tuple[float, str]] = []
            for number, (wave, label) in enumerate(recordings):
                if kind != "clean":
                    noise = babble(words, wave.size, rng) if kind == "babble" else kitchen(wave.size, rng)
                    wave = noisy(wave, noise, float(level))  # noqa: PLW2901
                right, own = hear(model, wave, label)
                commands.append(float(right))
                slots += [(float(one), str(number)) for one in own]
            one = bootstrap(commands, [str(number) for number in range(len(commands))])
            other = bootstrap([score for score, _ in slots], [key for _, key in slots])
            means.append((np.mean(commands), np.mean([score for score, _ in slots])))
            print(
                f"{kind} {level}: commands {means[-1][0]:.3f} ({one.low:.3f} to {one.high:.3f}), "
                f"slots {means[-1][1]:.3f} ({other.low:.3f} to {other.high:.3f}), n {len(commands)}",
                flush=True,
            )
    print(f"{kind}, mean: commands {np.mean([a for a, _ in means]):.3f}, slots {np.mean([b for _, b in means]):.3f}")


if __name__ == "__main__":
    if len(sys.argv) < 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
