"""A cold start: from the start of a process to the first token, and to the first sound. Knows commands and pipes.

The files have been read before, as on a machine in use; what is counted is the interpreter, its imports, opening the
parts and making the first piece.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from muomni_cli.bench.measure import Timed, take_turns
from muomni_cli.bench.report import Line, short_names
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.models.engines import open_found
from muomni_cli.models.find import named

TEXT = "Good morning."

CHAT = ("chat", TEXT, "--max-tokens", "1", "--temperature", "0")
"""Its first byte on stdout comes with the first token, whether that has a text or not: the line ends with it."""
TTS = ("tts", TEXT, "--raw", "-o", "-")
"""Without a header, so that its first byte is the first sound's."""


def measure_start(
    models: Sequence[str], *, rounds: int, device: str, threads: int, progress: Callable[[str], None]
) -> list[Line]:
    """A line for the first token of ``muomni chat`` and one for the first sound of ``muomni tts``, of the models that
    can do it, each time in a process of its own.

    Args:
        models: runs or folders that a runtime opens; the first is ours.
        rounds: processes that are counted, of each model and command.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads; 0 leaves the choice to what runs.
        progress: told what is measured.

    Raises:
        RequestError: there is no such model, or the first one can do neither.
        MuomniError: a command failed.
    """
    named = short_names(models)
    parts = {name: _parts(model) for name, model in named.items()}
    options = ["--device", device, *(["--threads", str(threads)] if threads else [])]
    lines = []
    for what, words, needed in (("first token", CHAT, {"thinker"}), ("first sound", TTS, {"talker", "codec"})):
        able = [name for name, its in parts.items() if needed <= its]
        if able and able[0] == next(iter(named)):
            progress(f"measuring {words[0]}: {what}")
            processes = {name: _process([*words, "-m", named[name], *options]) for name in able}
            lines.append(Line(f"{words[0]}: {what}", take_turns(processes, rounds=rounds), "start"))
    if not lines:
        raise RequestError(f"{models[0]} neither answers nor speaks", "name another model with -m")
    return lines


def first_byte(words: Sequence[str]) -> float:
    """Seconds from the start of ``muomni WORDS`` to its first byte on stdout; returns when it has ended.

    Raises:
        MuomniError: it failed, or wrote nothing.
    """
    command = [sys.executable, "-m", "muomni_cli", *words]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        came = process.stdout.read1(1)  # type: ignore[attr-defined]
        seconds = time.perf_counter() - begin
        told = process.communicate()[1].decode(errors="replace").strip().splitlines()
    if process.returncode or not came:
        said = next((line for line in told if line.startswith("error: ")), "it wrote nothing").removeprefix("error: ")
        raise MuomniError(f"muomni {words[0]} failed: {said}", f"see what it says: {shlex.join(['muomni', *words])}")
    return seconds


def _process(words: Sequence[str]) -> Timed:
    return lambda: (1, first_byte(words))


def _parts(model: str) -> set[str]:
    """Names of what the model consists of. RequestError if there is none."""
    return set(open_found(named(model)).parts)
