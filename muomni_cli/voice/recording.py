"""``muomni data record``: read a script aloud, line by line, into a folder in the layout of LJSpeech.

The audio device has a thread and a clock of its own: it puts a block of samples into a queue every 20 ms, and
:func:`record_clip` takes them from there until the reader is silent.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile  # type: ignore[import-untyped]
from numpy.typing import NDArray

from muomni_cli.audio.devices import BLOCK, open_stream
from muomni_cli.core import console
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import open_regular, replacing, write_text
from muomni_cli.core.text import utf8_lines

LIST, SOUNDS = "metadata.csv", "wavs"
RATES = (48_000, 44_100, 32_000, 24_000, 16_000)  # tried in this order
BEFORE, AFTER = 0.25, 0.35  # seconds that are kept around the speech
LONGEST = 30.0  # seconds of a clip
LOST = 5.0  # seconds without a block after which the device counts as gone
LEAST = 0.3  # seconds of speech that a clip has at least
ABOVE = 12.0  # dB above the quietest tenth of the blocks at which a block is speech
FLOOR, CEILING = -55.0, -35.0  # dB of full scale between which that threshold stays
QUIET, FULL = -40.0, 0.99  # level in dB below which a clip is too quiet; peak from which it may be clipped

Wave = NDArray[np.float32]


class Microphone(Protocol):
    """An open microphone."""

    rate: int  # in Hz

    def blocks(self) -> Iterator[Wave]:
        """Blocks (n,) of samples from now on, as they come. MuomniError if the device stops to bring any."""


class SoundDeviceMicrophone:
    """A microphone by ``sounddevice``; MuomniError as of :func:`muomni_cli.audio.devices.open_stream`."""

    def __init__(self, device: str | None = None) -> None:
        self._queue: queue.SimpleQueue[Wave] = queue.SimpleQueue()
        self._stream = open_stream("microphone", device, self._recorded, RATES, "muomni data record")
        self.rate = round(self._stream.samplerate)

    def _recorded(self, block: NDArray[np.float32], frames: int, time: object, status: object) -> None:  # noqa: ARG002
        self._queue.put(block[:, 0].copy())

    def blocks(self) -> Iterator[Wave]:
        while not self._queue.empty():  # blocks that arrived before this recording
            self._queue.get()
        while True:
            try:
                yield self._queue.get(timeout=LOST)
            except queue.Empty as error:
                raise MuomniError("the microphone brings no sound any more", "connect it, and go on") from error


@contextmanager
def microphone(device: str | None = None) -> Iterator[SoundDeviceMicrophone]:
    """An open microphone that records until the context ends."""
    opened = SoundDeviceMicrophone(device)
    opened._stream.start()
    try:
        yield opened
    finally:
        opened._stream.close()


@dataclass(frozen=True, slots=True)
class Take:
    """Recorded speech (N,), its level and peak, and whether the reader was silent at the end."""

    samples: Wave
    rate: int
    ended: bool

    @property
    def seconds(self) -> float:
        return self.samples.size / self.rate

    @property
    def level(self) -> float:
        """Of the loudest tenth of its blocks, in dB of full scale."""
        size = round(BLOCK * self.rate)
        levels = [level_of(self.samples[at : at + size]) for at in range(0, self.samples.size, size)]
        return float(np.percentile(levels, 90)) if levels else level_of(self.samples)

    @property
    def problem(self) -> str:
        """What is wrong with it; empty if nothing is."""
        if self.samples.size < LEAST * self.rate:
            return "nothing was said"
        if not self.ended:
            return f"it is longer than {LONGEST:g} seconds"
        if np.abs(self.samples).max() >= FULL:
            return "it is too loud: turn the microphone down"
        if self.level < QUIET:
            return "it is too quiet: go closer, or turn the microphone up"
        return ""


def level_of(block: Wave) -> float:
    """RMS of (n,) samples in dB of full scale, at least -100."""
    power = float(np.mean(np.square(block, dtype=np.float64))) if block.size else 0.0
    return 10 * float(np.log10(power + 1e-10))


def record_clip(source: Microphone, silence: float, meter: Callable[[float], None]) -> Take:
    """Record until ``silence`` seconds follow speech, or nothing is said for as long as the longest clip may last.

    ``meter`` is told the level of each block, in dB of full scale. MuomniError as of :meth:`Microphone.blocks`.
    """
    held: list[Wave] = []
    levels: list[float] = []
    spoken: list[int] = []  # blocks with speech
    ended = False
    for block in source.blocks():
        held.append(block)
        levels.append(level_of(block))
        meter(levels[-1])
        threshold = min(max(float(np.percentile(levels, 10)) + ABOVE, FLOOR), CEILING)
        spoken = [place for place, level in enumerate(levels) if level > threshold]
        quiet = (len(levels) - 1 - spoken[-1]) * BLOCK if spoken else 0.0
        ended = len(spoken) * BLOCK >= LEAST and quiet >= silence
        if ended or len(levels) * BLOCK >= LONGEST:
            break
    if not spoken:
        return Take(np.zeros(0, np.float32), source.rate, ended)
    first = max(0, spoken[0] - round(BEFORE / BLOCK))
    last = spoken[-1] + 1 + round(AFTER / BLOCK)
    return Take(np.concatenate(held[first:last]), source.rate, ended)


@dataclass(slots=True)
class ScriptFolder:
    """A folder in the layout of LJSpeech that grows clip by clip.

    Attributes:
        root: the folder.
        lines: of its list, as they are in the file; also those whose file is missing.
        texts: of the clips that are there, by name.
    """

    root: Path
    lines: list[str]
    texts: dict[str, str]

    @classmethod
    def open(cls, root: Path) -> ScriptFolder:
        """What was recorded before. RequestError if the folder is a file, or its list cannot be read."""
        if root.exists() and not root.is_dir():
            raise RequestError(f"{root} is a file, not a folder", "name another folder: -o FOLDER")
        lines: list[str] = []
        if (root / LIST).exists() and (root / LIST).stat().st_size:
            with open_regular(root / LIST) as raw:
                lines = [line.rstrip("\r\n") for _, line in utf8_lines(raw, _refused(root / LIST))]
        entries = (line.split("|") for line in lines)
        clips = {name: text for name, text, *_ in (entry for entry in entries if len(entry) > 1)}
        return cls(
            root, lines, {name: text for name, text in clips.items() if (root / SOUNDS / f"{name}.wav").is_file()}
        )

    def add(self, text: str, clip: Take) -> Path:
        """Write a clip; its file appears before the list names it. MuomniError if the disk is full."""
        used = {int(name) for line in self.lines if (name := line.partition("|")[0]).isdecimal()}
        name = f"{max(used, default=0) + 1:04}"
        path = self.root / SOUNDS / f"{name}.wav"
        with replacing(path) as temporary:
            soundfile.write(temporary, clip.samples, clip.rate, subtype="PCM_16", format="WAV")
        self.lines.append(f"{name}|{text}|{text}")
        self.texts[name] = text
        write_text(self.root / LIST, "".join(f"{line}\n" for line in self.lines))
        return path


def _refused(path: Path) -> Callable[[str, str], None]:
    """Refuses a list with a line that is not text: it would be lost when the list is written again."""

    def note(reason: str, line: str) -> None:
        raise RequestError(f"{path} cannot be continued: {line} {reason}", "name another folder: -o FOLDER")

    return note


def script_lines(path: Path) -> list[str]:
    """The lines of a script, each once. RequestError if it cannot be read or is empty."""
    with open_regular(path) as raw:
        lines = [" ".join(line.replace("|", " ").split()) for _, line in utf8_lines(raw, _not_read)]
    found = list(dict.fromkeys(filter(None, lines)))
    if not found:
        raise RequestError(f"{path} has no line to read", "write a sentence a line, as UTF-8")
    return found


def _not_read(reason: str, line: str) -> None:
    console.say(f"warning: not read: {line} {reason}")


def record_script(
    lines: Sequence[str],
    folder: ScriptFolder,
    source: Microphone,
    *,
    silence: float,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    meter: Callable[[float], None],
) -> int:
    """Record the lines that the folder does not have yet; returns how many were recorded now.

    ``ask`` shows a question and returns the answer; ``say`` shows a line. A clip with a problem is kept only if it is
    asked for. MuomniError as of :func:`record_clip`.
    """
    known = set(folder.texts.values())
    missing = [line for line in lines if line not in known]
    made = 0
    for number, line in enumerate(missing, start=1):
        say(f"{number} of {len(missing)}: {line}")
        answer = ask("Enter: record, s: skip, q: end ")
        if answer == "q":
            break
        if answer == "s":
            continue
        clip, ended = _accepted(source, silence, ask, say, meter)
        if clip is not None:
            folder.add(line, clip)
            made += 1
        if ended:
            break
    return made


def _accepted(
    source: Microphone,
    silence: float,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    meter: Callable[[float], None],
) -> tuple[Take | None, bool]:
    """The clip to keep, after as many takes as are asked for, and whether the reader ends here."""
    while True:
        clip = record_clip(source, silence, meter)
        if clip.samples.size:
            say(f"{clip.seconds:.1f} s at {clip.level:.0f} dB")
        if clip.problem:
            say(clip.problem)
        fine, silent = not clip.problem, not clip.samples.size
        question = "Enter: next, r: again, s: skip, q: end "
        if not fine:
            question = f"Enter: again, {'' if silent else 'k: keep, '}s: skip, q: end "
        while (answer := ask(question)) not in ("", "s", "q", "r" if fine or silent else "k"):
            say(f"there is no answer {answer}")
        if answer == "r" or (answer == "" and not fine):
            continue
        kept = answer == "k" or (fine and answer != "s")
        return (clip if kept else None), answer == "q"
