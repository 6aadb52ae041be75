"""Inputs of calls: paths, bytes, arrays and pictures in memory, as media that encoders read."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import FileMedia, Media
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media_arguments import refuse_url

if TYPE_CHECKING:
    from PIL.Image import Image

MediaInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, NDArray[Any], "Image", tuple[NDArray[Any], int]]
"""One picture, sound or other input: a path; the bytes of a file; a picture as an array (H,W), (H,W,3) or (H,W,4) of
uint8, or as Pillow holds it; a sound as its samples (N,) or (N,channels), floats of full scale 1 or integers, with
their number a second."""

MediaInputs: TypeAlias = Union[MediaInput, "list[MediaInput]", None]
"""None, one, or a list of several."""


@dataclass(frozen=True, slots=True)
class MemoryMedia:
    """A file in memory, as a :class:`muomni_cli.api.Media`."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        """See :class:`muomni_cli.api.Media`."""
        if not self.content:
            raise RequestError(f"{self.name} is empty (0 bytes)", "give something that holds something")
        return io.BytesIO(self.content)


def media_of(modality: str, given: MediaInputs) -> list[Media]:
    """What was given for one modality; nothing is read yet.

    Raises:
        RequestError: it is none of what can be given.
    """
    if given is None:
        return []
    return [_one(modality, one) for one in (given if isinstance(given, list) else [given])]


def _one(modality: str, given: MediaInput) -> Media:
    if isinstance(given, str | os.PathLike):
        refuse_url(os.fspath(given))
        return FileMedia(modality, Path(given).expanduser())
    if isinstance(given, bytes | bytearray | memoryview):
        return MemoryMedia(modality, f"the {modality} in memory", bytes(given))
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        return MemoryMedia(modality, f"the {modality} of {len(given[0]):,} samples", _sound(*given))
    if isinstance(given, np.ndarray):
        return MemoryMedia(modality, f"the {modality} of {' x '.join(map(str, given.shape))}", _picture(given))
    from PIL.Image import Image

    if isinstance(given, Image):
        return MemoryMedia(modality, f"the {modality} of {given.width} x {given.height} pixels", _png(given))
    raise RequestError(
        f"{modality} cannot be a {type(given).__name__}",
        "give a path, bytes, a picture of Pillow's, an array of pixels, or (samples, rate)",
    )


def _sound(samples: NDArray[Any], rate: int) -> bytes:
    """A WAV file of floats, which holds every sample as it is."""
    import soundfile  # type: ignore[import-untyped]

    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi":
        raise RequestError(
            f"a sound cannot be an array of {samples.ndim} axes of {samples.dtype}", "give (N,) or (N,channels) samples"
        )
    if rate != int(rate) or rate < 1:
        raise RequestError(
            f"a sound cannot have {rate} samples a second", "give their number a second: (samples, 16000)"
        )
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), int(rate), format="WAV", subtype="FLOAT")
    return file.getvalue()


def _picture(pixels: NDArray[Any]) -> bytes:
    from PIL import Image

    if pixels.dtype != np.uint8 or not pixels.size or pixels.shape[2:] not in ((), (3,), (4,)) or pixels.ndim < 2:
        raise RequestError(
            f"a picture cannot be an array of shape {pixels.shape} of {pixels.dtype}",
            "give (H,W), (H,W,3) or (H,W,4) of uint8; a sound is given as (samples, rate)",
        )
    return _png(Image.fromarray(pixels))


def _png(picture: Image) -> bytes:
    """A file of what the picture shows, the right way up."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    file = io.BytesIO()
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()
