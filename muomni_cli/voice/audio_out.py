"""Write samples to files, streams and the loudspeaker while they are computed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import IO, BinaryIO

import numpy as np
from numpy.typing import NDArray

from muomni_cli.audio.encoding import as_bytes, as_integers, wav_header
from muomni_cli.contract.speech import TextChunk, VoiceSettings
from muomni_cli.core.console import say
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.core.files import is_stream, replacing
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, Voice

Write = Callable[[NDArray[np.float32]], None]  # takes samples (n,), full scale 1

FORMATS = {  # of libsndfile, by suffix
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
STDOUT = Path("-")
PLAYERS: dict[str, Callable[[int], list[str]]] = {
    "aplay": lambda rate: f"aplay -q -t raw -f S16_LE -c 1 -r {rate} -".split(),
    "paplay": lambda rate: f"paplay --raw --format=s16le --channels=1 --rate={rate}".split(),
    "pw-play": lambda rate: f"pw-play --format=s16 --channels=1 --rate={rate} -".split(),
    "ffplay": lambda rate: f"ffplay -v error -nodisp -autoexit -f s16le -ar {rate} -i -".split(),
    "play": lambda rate: f"play -q -t raw -e signed -b 16 -c 1 -r {rate} -".split(),
}
"""Programs that play 16-bit samples from stdin, in order of preference."""

FILES = "afplay"  # the player of macOS; it only plays files


def known_suffixes() -> list[str]:
    """Suffixes that this machine's libsndfile can write."""
    import soundfile  # type: ignore[import-untyped]  # slow to load, and only needed for files

    there = soundfile.available_formats()
    return [suffix for suffix, (kind, _) in FORMATS.items() if kind in there]


def check_output(output: Path, *, raw: bool) -> None:
    """RequestError for an unsupported format, a folder, or a terminal, before anything is synthesized."""
    if output == STDOUT:
        if sys.stdout is not None and sys.stdout.isatty():
            raise RequestError("stdout is a terminal", "write to a file, or pipe: ... -o - | aplay")
        return
    if output.is_dir():
        raise RequestError(f"{output} is a folder", f"name a file in it: -o {output / 'out.wav'}")
    known = known_suffixes()
    if not raw and not is_stream(output) and output.suffix.lower() not in known:
        fix = f"name a file that ends with {', '.join(known)}, or use --raw"
        raise RequestError(f"unsupported audio format: {output}", fix)


@contextmanager
def writing(output: Path, rate: int, *, raw: bool = False) -> Iterator[Write]:
    """A function that writes samples to ``output``: to a file atomically, to stdout (``-``), a pipe or a device at
    once.

    Raises:
        MuomniError: the file cannot be written; an existing file is unchanged.
        BrokenPipeError: the reader of stdout has exited.
    """
    if output == STDOUT:
        yield streamed(sys.stdout.buffer, rate, raw=raw)
    elif is_stream(output):
        with output.open("wb", buffering=0) as device:
            yield streamed(device, rate, raw=raw)
    else:
        with replacing(output) as temporary, temporary.open("wb+") as file:
            if raw:
                yield streamed(file, rate, raw=True)
            else:
                with _encoded(file, output, rate) as write:
                    yield write


def streamed(out: IO[bytes], rate: int, *, raw: bool) -> Write:
    """A function that writes to an unseekable stream and flushes each time; the header comes with the first samples."""
    header = b"" if raw else wav_header(rate)

    def write(samples: NDArray[np.float32]) -> None:
        nonlocal header
        out.write(header + as_bytes(samples))
        header = b""
        out.flush()

    return write


class _Watched:
    """A file for libsndfile, which does not report I/O errors: the first error is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self.file.write(data) if self.error is None else 0
        except OSError as error:
            self.error = error
            return 0

    def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self.file.seek(offset, whence)
        except OSError as error:  # seeking flushes buffered data
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        return self.file.tell()

    def check(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def _encoded(file: BinaryIO, output: Path, rate: int) -> Iterator[Write]:
    import soundfile

    kind, subtype = FORMATS[output.suffix.lower()]
    watched = _Watched(file)
    try:
        with soundfile.SoundFile(watched, "w", rate, 1, subtype, format=kind) as sound:

            def write(samples: NDArray[np.float32]) -> None:
                try:
                    sound.write(as_integers(samples))
                except (soundfile.SoundFileError, AssertionError):  # it checks the number of bytes written
                    watched.check()
                    raise
                watched.check()

            yield write
        watched.check()
        file.flush()
    except soundfile.SoundFileError as error:
        watched.check()
        raise MuomniError(f"could not write {output}: {error}", "try another format: -o out.wav") from error


def find_player() -> str:
    """The first player that is installed. RequestError if there is none."""
    names = [*PLAYERS, FILES]
    if found := next((name for name in names if shutil.which(name)), None):
        return found
    raise RequestError("no audio player is installed", f"install one of: {', '.join(names)}; or write a file with -o")


@contextmanager
def playing(player: str, rate: int) -> Iterator[Write]:
    """A function that plays samples; leaving the context waits until everything is played. MuomniError with the
    player's message if it failed."""
    if player == FILES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            with writing(path, rate) as write:
                yield write
            _finished(subprocess.Popen([player, str(path)], stderr=subprocess.PIPE), player)
        return
    process = subprocess.Popen(
        PLAYERS[player](rate), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    feeder = _Feeder(process, player, rate)
    try:
        yield feeder.take
        feeder.finish()
        _finished(process, player)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        feeder.finish()
        if process.stderr is not None:
            process.stderr.close()


class _Feeder:
    """Feeds samples to a player at its pace while more are computed."""

    def __init__(self, process: subprocess.Popen[bytes], player: str, rate: int) -> None:
        assert process.stdin is not None
        self._process, self._player, self._pipe = process, player, process.stdin
        self._write = streamed(self._pipe, rate, raw=True)
        self._queue: SimpleQueue[NDArray[np.float32] | None] = SimpleQueue()
        self._gone = Event()
        self._thread = Thread(target=self._feed, daemon=True)
        self._thread.start()

    def take(self, samples: NDArray[np.float32]) -> None:
        """Queue samples. MuomniError if the player has exited."""
        if self._gone.is_set():
            _finished(self._process, self._player)
            raise MuomniError(f"{self._player} stopped before the end", "write a file instead")
        self._queue.put(samples)

    def finish(self) -> None:
        """Wait until the player has received everything."""
        self._queue.put(None)
        self._thread.join()

    def _feed(self) -> None:
        with suppress(OSError):  # the player's own error message is reported when it exits
            while (samples := self._queue.get()) is not None:
                self._write(samples)
        self._gone.set()
        with suppress(OSError):
            self._pipe.close()


def _finished(process: subprocess.Popen[bytes], player: str) -> None:
    """Wait until playback has ended. MuomniError if it failed."""
    assert process.stderr is not None
    with process.stderr as pipe:
        message = pipe.read()
    if process.wait():
        lines = message.decode(errors="replace").strip().splitlines()
        raise MuomniError(
            f"{player} could not play: {lines[-1] if lines else f'exit code {process.returncode}'}",
            "check the audio setup, or write a file with -o instead",
        )


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """Where samples go: to a file or stdout, to the loudspeaker, or both. RequestError for no output, or an unusable
    one."""

    output: Path | None = None
    raw: bool = False
    play: bool = False

    def __post_init__(self) -> None:
        if self.output is None and not self.play:
            raise RequestError("no audio output is given", "write a file with -o out.wav, or use --play")
        if self.output is not None:
            check_output(self.output, raw=self.raw)
        if self.play:
            find_player()

    @classmethod
    def beside_text(cls, output: Path | None, play: bool) -> AudioOutput:
        """The audio output of a command whose stdout is text. RequestError as above."""
        if output == STDOUT:
            raise RequestError("text and speech both go to stdout", "write the speech to a file: --speak out.wav")
        return cls(output, play=play)

    @contextmanager
    def open(self, rate: int) -> Iterator[Write]:
        """A function that sends samples to all outputs. Errors as of :func:`writing` and :func:`playing`."""
        with ExitStack() as stack:
            ways: list[Write] = []
            if self.output is not None:
                ways.append(stack.enter_context(writing(self.output, rate, raw=self.raw)))
            if self.play:
                ways.append(stack.enter_context(playing(find_player(), rate)))

            def write(samples: NDArray[np.float32]) -> None:
                for way in ways:
                    way(samples)

            yield write


def send(samples: Iterable[NDArray[np.float32]], write: Write, speech: SpeechStats) -> None:
    """Write all ``samples``, with progress on a terminal. RequestError if there are none."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    updated = time.perf_counter()
    try:
        for piece in samples:
            write(piece)
            if shown and time.perf_counter() - updated > 0.25:
                updated = time.perf_counter()
                print(f"\r{progress(speech)}\x1b[K", end="", file=sys.stderr, flush=True)
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    speech.require()


def progress(speech: SpeechStats) -> str:
    rate = 1 / speech.factor if speech.factor else 0.0
    return f"{speech.seconds:.1f} s of speech, {rate:.1f} times real time"


def stats_line(speech: SpeechStats) -> str:
    """The line of ``--stats``."""
    first = f"first audio after {1000 * speech.first:.0f} ms" if speech.first is not None else "no audio"
    return f"real-time factor {speech.factor:.3f}, {first}, {speech.frames} code frames"


@dataclass(slots=True)
class SpeechOutput:
    """Speaks answers, one after the other: a file gets all answers of a :meth:`session`, the loudspeaker each as it
    comes."""

    voice: Voice
    voice_settings: VoiceSettings
    audio_output: AudioOutput
    _file: Write | None = field(default=None, init=False)

    @contextmanager
    def session(self) -> Iterator[None]:
        """Writes the file, which is complete when the context ends."""
        if self.audio_output.output is None:
            yield
            return
        with replace(self.audio_output, play=False).open(self.voice.sample_rate) as self._file:
            yield
        self._file = None
        say(f"wrote {self.audio_output.output}")

    def speak(self, pieces: Iterable[TextChunk], *, seed: int, stats: bool) -> None:
        """Speak ``pieces`` as they arrive. All pieces are consumed, even those that cannot be spoken."""
        text = iter(pieces)
        speech = SpeechStats(self.voice.sample_rate)
        samples = self.voice.say(text, self.voice_settings, SpeechSampling(seed), speech)
        ways = [self._file] if self._file is not None else []
        with ExitStack() as stack:
            if self.audio_output.play:
                loudspeaker = replace(self.audio_output, output=None)
                ways.append(stack.enter_context(loudspeaker.open(self.voice.sample_rate)))
            for piece in samples:
                for way in ways:
                    way(piece)
        deque(text, maxlen=0)
        if not speech.samples:
            say("(nothing of this answer can be spoken)")
        elif stats:
            say(f"({stats_line(speech)})")
        for loss in speech.losses:
            say(f"({loss})")
