"""Streams of audio devices, by PortAudio (the package ``sounddevice``, extra ``[live]``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from muomni_cli.core.errors import MuomniError

BLOCK = 0.02  # seconds that a device brings or takes at once


def portaudio(command: str) -> Any:
    """The module ``sounddevice``. MuomniError, naming what needs it, if it or PortAudio is missing."""
    try:
        import sounddevice  # type: ignore[import-untyped]
    except ImportError as error:
        raise MuomniError(
            f"{command} needs the package sounddevice, which is not installed",
            "install it: pip install 'muomni[live]'",
        ) from error
    except OSError as error:
        raise MuomniError(
            "PortAudio, which sounddevice needs, is not installed", "install it: apt install libportaudio2"
        ) from error
    return sounddevice


def open_stream(
    kind: Literal["microphone", "loudspeaker"],
    device: str | None,
    callback: Callable[..., None],
    rates: Sequence[int],
    command: str,
) -> Any:
    """A stream of one channel in float32, not yet started, whose thread calls ``callback`` every :data:`BLOCK`.

    Args:
        kind: what to open.
        device: its name or number; None for the system's choice.
        callback: ``callback(block (n,1), n, time, status)``, as sounddevice calls it.
        rates: sample rates to try, in this order.
        command: that needs it, for messages.

    Raises:
        MuomniError: the package or PortAudio is missing, or the device cannot be opened.
    """
    library = portaudio(command)
    stream = library.InputStream if kind == "microphone" else library.OutputStream
    problem: Exception | None = None
    for rate in rates:
        try:
            return stream(
                samplerate=rate,
                blocksize=round(BLOCK * rate),
                device=int(device) if device is not None and device.isdigit() else device,
                channels=1,
                dtype="float32",
                latency="low",
                callback=callback,
            )
        except (library.PortAudioError, ValueError) as error:
            problem = error
    raise MuomniError(
        f"the {kind} cannot be opened: {problem}", f"connect one, or name it: --{kind} (muomni talk --devices)"
    ) from problem
