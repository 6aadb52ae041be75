"""Laws of parts that read files: what is no file of theirs is refused in words. Imports no torch."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from muomni_cli.conformance.subject import SEED
from muomni_cli.contract.conformance import Broken, Law, Number, Subject, require
from muomni_cli.core.errors import RequestError
from muomni_cli.registry.loading import describe

NAME = "the-file.bin"
"""What files are called."""


def junk() -> dict[str, bytes]:
    """Bytes that nobody can take for anything, by what to call them; and the beginnings of what somebody could."""
    noise = np.random.default_rng(SEED).bytes(4096)
    return {
        "an empty file": b"",
        "one byte": b"\0",
        "zeros": bytes(4096),
        "random bytes": noise,
        "the head of a PNG file, then random bytes": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise,
        "the head of a WAV file, then random bytes": b"RIFF\xff\xff\xff\x7fWAVEfmt " + noise,
        "an open brace": b"{",
    }


def refuses(subject: Subject) -> Sequence[Number]:
    """Each, with an error that names the file and says what to do."""
    read = subject.find("read")
    for what, content in junk().items():
        try:
            made = read(subject.config, io.BytesIO(content), NAME)
        except RequestError as error:
            require(NAME in error.what, f"what it says of {what} does not name the file: {error.what}")
            require(bool(error.fix), f"it does not say what to do about {what}: {error.what}")
            require("\n" not in error.what + error.fix, f"what it says of {what} takes more than a line each")
        except Exception as error:
            raise Broken(f"{what} raises {describe(error)}, not a RequestError") from error
        else:
            raise Broken(f"{what} is read as an array of {getattr(made, 'shape', made)}")
    return [Number("files refused", len(junk()))]


LAWS = (
    Law(
        name="refuses",
        doc="read refuses what is no file of its sort with a RequestError that names the file",
        check=refuses,
        after=("references",),
    ),
)
