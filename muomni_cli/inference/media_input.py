"""Pictures and sounds of a request: read, checked, and encoded as embeddings that the Thinker takes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import FileMedia, Media
from muomni_cli.core.console import silence_pillow
from muomni_cli.core.errors import RequestError
from muomni_cli.data.media import Modality, in_order, refuse_url

if TYPE_CHECKING:
    from PIL.Image import Image

MediaEmbeddings = list[tuple[Media, NDArray[np.float32]]]

Encode = Callable[[str, NDArray[Any]], NDArray[np.float32]]
"""One input of a modality from ``EncoderPart.read`` -> (T,D) tokens of the Thinker's width."""

MediaInput: TypeAlias = Union[str, "os.PathLike[str]", bytes, NDArray[Any], "Image", tuple[NDArray[Any], int]]
"""One image, audio or other input: a path; the bytes of a file; an image as a Pillow image of any mode, or as an array
(H,W), (H,W,3) or (H,W,4) of integers up to 255 or 65535, or of floats up to 1; audio as (samples, rate), with samples
(N,) or (N,channels): floats of full scale 1, or integers of 8, 16, 24 or 32 bits, whatever the width of their type."""

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
        path = os.fsdecode(given)
        refuse_url(path)
        return FileMedia(modality, Path(os.path.expanduser(path)))
    if isinstance(given, bytes | bytearray | memoryview):
        return MemoryMedia(modality, f"the {modality} in memory", bytes(given))
    if isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], np.ndarray):
        return MemoryMedia(modality, f"the {modality} of {given[0].size:,} samples", _wav(*given))
    if isinstance(given, np.ndarray):
        name = f"the {modality} of {' x '.join(map(str, given.shape))}"
        return MemoryMedia(modality, name, _lossless(_picture(given), name))
    from PIL.Image import Image

    if isinstance(given, Image):
        name = f"the {modality} of {given.width} x {given.height} pixels"
        return MemoryMedia(modality, name, _lossless(given, name))
    raise RequestError(
        f"{modality} cannot be a {type(given).__name__}",
        "give a path, bytes, a Pillow image, an array of pixels, or (samples, rate)",
    )


def _wav(samples: NDArray[Any], rate: int) -> bytes:
    """A WAV file of the same samples; :func:`muomni_cli.audio.io.read` tells which width of integers they have."""
    import soundfile  # type: ignore[import-untyped]

    _check_sound(samples, rate)
    if samples.dtype == np.uint8 or samples.dtype == np.int8:  # as in WAV files, 8 bits are unsigned
        samples = (samples.astype(np.int16) - (128 if samples.dtype == np.uint8 else 0)) << 8
    subtype = "FLOAT" if samples.dtype.kind == "f" else "PCM_16" if samples.dtype == np.int16 else "PCM_32"
    kinds: dict[str, type[np.generic]] = {"FLOAT": np.float32, "PCM_16": np.int16, "PCM_32": np.int32}
    file = io.BytesIO()
    with np.errstate(all="ignore"):  # what is too large for 32 bits is found in reading
        soundfile.write(file, samples.astype(kinds[subtype]), int(rate), format="WAV", subtype=subtype)
    return file.getvalue()


def _check_sound(samples: NDArray[Any], rate: Any) -> None:
    if samples.ndim not in (1, 2) or not (samples.dtype.kind in "fi" or samples.dtype == np.uint8):
        what = f"audio cannot be a {samples.ndim}-D array of {samples.dtype}"
        raise RequestError(what, "give (N,) or (N,channels) samples, floats or signed integers")
    if samples.ndim == 2 and samples.shape[1] > max(1, samples.shape[0]):
        what = f"audio of shape {samples.shape} has {samples.shape[1]:,} channels of {samples.shape[0]:,} samples"
        raise RequestError(what, "give (N,) or (N,channels): samples.T")
    if not samples.size:
        raise RequestError("the audio contains no samples", "give (N,) or (N,channels) samples")
    if samples.dtype.kind == "i" and not -(2**31) <= samples.min() <= samples.max() < 2**31:
        raise RequestError(
            "the audio's integers need more than 32 bits", "give samples of 16, 24 or 32 bits, or floats"
        )
    try:
        wrong = not 1 <= int(rate) == rate < 2**31
    except (TypeError, ValueError, OverflowError):
        wrong = True
    if wrong:
        raise RequestError(f"invalid sample rate: {rate!r}", "give samples and rate: (samples, 16000)")


def _picture(pixels: NDArray[Any]) -> Image:
    """An array with 8 bits a channel, as the image encoder makes of files with more: 16 bits keep their upper byte."""
    from PIL import Image

    shape = f"an image cannot be an array of shape {pixels.shape} of {pixels.dtype}"
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if not pixels.size or pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (2,), (3,), (4,)):
        raise RequestError(shape, "give (H,W), (H,W,3) or (H,W,4); audio is given as (samples, rate)")
    if pixels.dtype.kind not in "buif":
        raise RequestError(shape, "give integers from 0 to 255 or 65535, or floats from 0 to 1")
    if pixels.dtype.kind == "b":
        pixels = pixels * np.uint8(255)
    low, high, white = pixels.min(), pixels.max(), 1 if pixels.dtype.kind == "f" else 65_535
    if not (low >= 0 and high <= white):  # also true for NaN
        raise RequestError(
            f"the image's values go from {low} to {high}, not from 0 to {white}",
            "give integers from 0 to 255 or 65535, or floats from 0 to 1",
        )
    if pixels.dtype.kind == "f":
        pixels = np.rint(pixels.astype(np.float32) * 255)
    elif high > 255:
        pixels = pixels >> 8
    return Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)))


def _lossless(picture: Image, name: str) -> bytes:
    """A PNG or TIFF file of a Pillow image, rotated according to EXIF. An encoder reads the same from it as from the
    file that the image was opened from."""
    from PIL import ImageOps

    if not picture.width or not picture.height:
        raise RequestError(f"{name} has no pixels", "give an image that has some")
    silence_pillow()
    file = io.BytesIO()
    try:
        picture.load()
        with suppress(Exception):  # broken EXIF data
            picture = ImageOps.exif_transpose(picture)
        if picture.mode in _STRAIGHT:
            picture = picture.convert(_STRAIGHT[picture.mode])
        if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            picture.save(file, "PNG", compress_level=1, icc_profile=None)
        elif picture.mode in ("I", "F", "I;16B", "LAB", "CMYK"):
            picture.save(file, "TIFF", icc_profile=b"")
        else:
            picture.convert("RGB").save(file, "PNG", compress_level=1, icc_profile=None)
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise RequestError(
            f"{name} cannot be used: {reason}", "give another picture, or its pixels as an array"
        ) from error
    return file.getvalue()


_STRAIGHT = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}  # premultiplied or indexed colors, and theirs without
