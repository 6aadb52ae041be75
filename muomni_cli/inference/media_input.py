"""Pictures and sounds of a request: read, checked, and encoded as embeddings that the Thinker takes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import FileMedia, Media
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import Modality, in_order, refuse_url

if TYPE_CHECKING:
    from PIL.Image import Image

MediaEmbeddings = list[tuple[Media, NDArray[np.float32]]]

Encode = Callable[[str, NDArray[Any]], NDArray[np.float32]]
"""One input of a modality from ``EncoderPart.read`` -> (T,D) tokens of the Thinker's width."""

MediaInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, NDArray[Any], "Image", tuple[NDArray[Any], int]]
"""One image, audio or other input: a path; the bytes of a file; an image as a uint8 array (H,W), (H,W,3) or (H,W,4), or
as a Pillow image; audio as (samples, rate), with samples (N,) or (N,channels), floats of full scale 1 or integers."""

MediaInputs: TypeAlias = Union[MediaInput, "list[MediaInput]", None]
"""None, one, or a list of several."""


class ModalityEncoders:
    """Encoders and projectors of a model, in token order; ``notice`` receives a line when an input is truncated."""

    def __init__(
        self, encode: Encode, modalities: Mapping[str, Modality], context: int, notice: Callable[[str], None]
    ) -> None:
        self._encode, self._modalities, self._context, self._notice = encode, modalities, context, notice

    def __call__(self, media: Sequence[Media]) -> MediaEmbeddings:
        """Media of one message -> each with its tokens (T,D), in order. RequestError if one cannot be read or used."""
        inputs = [(one, self.read(one)) for one in in_order(media, self._modalities)]
        allotted = zip(inputs, self.allot(inputs), strict=True)
        return [(one, self.encode(one, array, kept)) for (one, array), kept in allotted]

    def read(self, one: Media) -> NDArray[Any]:
        """The encoder input of a medium. RequestError if it cannot be read."""
        return self._modalities[one.modality].read(one)

    def allot(self, inputs: Sequence[tuple[Media, NDArray[Any]]]) -> list[int]:
        """Tokens used of each input of a message, ordered by modality. RequestError if they do not fit."""
        allotted: list[int] = []
        for name, modality in self._modalities.items():
            own = [(one, modality.num_tokens(array)) for one, array in inputs if one.modality == name]
            for (one, made), kept in zip(own, modality.allot([made for _, made in own], self._context), strict=True):
                if kept < made:
                    self._notice(f"({one.name}: its first {kept} of {made} tokens are used; no more fit the context)")
                allotted.append(kept)
        return allotted

    def encode(self, one: Media, array: NDArray[Any], kept: int) -> NDArray[np.float32]:
        return self._encode(one.modality, array)[:kept]


@dataclass(frozen=True, slots=True)
class MemoryMedia:
    """A file in memory, as a :class:`muomni_cli.api.Media`."""

    modality: str
    name: str
    content: bytes = field(repr=False)

    def open(self) -> BinaryIO:
        if not self.content:
            raise RequestError(f"{self.name} is empty (0 bytes)", "give a file with content")
        return io.BytesIO(self.content)


def media_of(modality: str, given: MediaInputs) -> list[Media]:
    """The inputs of one modality as media; nothing is read yet. RequestError for an unsupported type."""
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
        "give a path, bytes, a Pillow image, an array of pixels, or (samples, rate)",
    )


def _sound(samples: NDArray[Any], rate: int) -> bytes:
    """A WAV file of float samples, which is lossless."""
    import soundfile  # type: ignore[import-untyped]

    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fi":
        what = f"audio cannot be a {samples.ndim}-D array of {samples.dtype}"
        raise RequestError(what, "give (N,) or (N,channels) samples")
    if rate != int(rate) or rate < 1:
        raise RequestError(f"invalid sample rate: {rate}", "give samples and rate: (samples, 16000)")
    if samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), int(rate), format="WAV", subtype="FLOAT")
    return file.getvalue()


def _picture(pixels: NDArray[Any]) -> bytes:
    from PIL import Image

    if pixels.dtype != np.uint8 or not pixels.size or pixels.shape[2:] not in ((), (3,), (4,)) or pixels.ndim < 2:
        raise RequestError(
            f"an image cannot be an array of shape {pixels.shape} of {pixels.dtype}",
            "give (H,W), (H,W,3) or (H,W,4) of uint8; audio is given as (samples, rate)",
        )
    return _png(Image.fromarray(pixels))


def _png(picture: Image) -> bytes:
    """A PNG file, rotated according to EXIF."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    if upright.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        upright = upright.convert("RGB")
    file = io.BytesIO()
    upright.save(file, "PNG", compress_level=1)
    return file.getvalue()
