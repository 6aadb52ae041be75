"""What ``muomni serve`` is started with: models, addresses, keys and limits."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from muomni_cli.api import MuomniError, RequestError

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MOST_CHOICES = 8  # of one chat request


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Of one server.

    Args:
        models: id -> model argument; None is the default model.
        host: address to listen on.
        port: 0 for any free one.
        api_key: that requests must carry; empty for none.
        hosts: further host names under which clients reach the server.
        origins: web origins whose pages may call the server; ``*`` is every one.
        keep: seconds that an unused model stays loaded.
        queue: requests of a model that may wait.
        timeout: seconds until an answer must be complete.
        upload_timeout: seconds until a request must have arrived.
        max_body: largest request, in bytes.
        max_audio: longest audio to transcribe, in seconds.
        max_pixels: of an image.
        max_text: characters of a text to speak.
        grace: seconds that answers may take after a stop signal.
        together: decode answers of a model together; None: unless that could change one.
        language: of transcripts.
        device: see :func:`muomni_cli.load`.
        threads: see :func:`muomni_cli.load`.
        wyoming: address of the Wyoming protocol, such as ``tcp://127.0.0.1:10200``; empty for none.
    """

    models: Mapping[str, str | None] = field(default_factory=lambda: {"": None})
    host: str = "127.0.0.1"
    port: int = 8000
    api_key: str = ""
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    keep: float = 600.0
    queue: int = 64
    timeout: float = 600.0
    upload_timeout: float = 60.0
    max_body: int = 25_000_000
    max_audio: float = 3600.0
    max_pixels: int = 50_000_000
    max_text: int = 4096
    grace: float = 3.0
    together: bool | None = None
    language: str = "en"
    device: str = "auto"
    threads: int | None = None
    wyoming: str = ""

    def __post_init__(self) -> None:
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise RequestError(f"{origin!r} is not a web origin", "name one such as https://example.org, or *")
        for name in self.hosts:
            if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
                raise RequestError(f"{name!r} is not a host name", "name one without a port, such as speech.local")


def models_of(words: Sequence[str]) -> dict[str, str | None]:
    """``[ID=]MODEL`` words as id -> model; an id that is not given is empty until the model is known. RequestError for
    an id that is given twice."""
    found: dict[str, str | None] = {}
    for word in words or [""]:
        name, given, spec = word.partition("=")
        if not given or not re.fullmatch(r"[\w.:-]+", name):
            name, spec = "", word
        name = name or re.split(r"[\\/]", spec.rstrip("\\/"))[-1]
        if name in found:
            raise RequestError(f"two models have the id {name!r}", f"give one another id: -m other={spec}")
        found[name] = spec or None
    return found


def seconds_of(text: str) -> float:
    """``30s``, ``10m``, ``2h``, ``1d`` or ``forever`` in seconds; a number alone is seconds. RequestError otherwise."""
    if text == "forever":
        return inf
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not match:
        raise RequestError(f"{text!r} is not a time", "give one such as 30s, 10m, 2h or forever")
    return float(match[1]) * UNITS[match[2] or "s"]


def key_of(given: str | None) -> str:
    """The key. RequestError if it cannot be sent in a header."""
    key = given or ""
    if not all("!" <= character <= "~" for character in key):
        raise RequestError(
            "the key has characters that a header cannot carry", "use letters, digits and signs of ASCII"
        )
    return key


def require_packages(packages: Sequence[str]) -> None:
    """MuomniError if the extra is not installed."""
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise MuomniError(
            "muomni serve needs packages that are not installed", "install them: pip install 'muomni[serve]'"
        )
