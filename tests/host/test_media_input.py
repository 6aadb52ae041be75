"""Pictures and sounds in memory: the same input as from their files, and every other argument two lines."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from muomni_audio_encoder.plugin import AudioEncoderConfig
from muomni_cli.api import RequestError
from muomni_cli.audio import io as audio
from muomni_cli.inference.media_input import media_of
from muomni_vit import preprocessing
from muomni_vit.plugin import VitConfig

SIGHT, HEARING = VitConfig(size=32, patch=8), AudioEncoderConfig()
WAVE = 0.3 * np.sin(np.arange(8000) / 5) * np.linspace(0, 1, 8000)


def seen(given: Any) -> NDArray[np.uint8]:
    (media,) = media_of("image", [given])
    with media.open() as file:
        return preprocessing.read(SIGHT, file, media.name)


def heard(given: Any) -> NDArray[np.float32]:
    (media,) = media_of("audio", [given])
    with media.open() as file:
        return audio.read(HEARING, file, media.name)


def drawn(mode: str, size: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture in any mode, with a clear and a half-clear part where the mode has such."""
    picture = Image.new("RGBA", size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    pen.ellipse([16, 12, 40, 36], fill=(30, 60, 220, 255))
    pen.rectangle([40, 30, 60, 44], fill=(250, 200, 10, 128))
    if mode in ("I", "I;16", "I;16B", "F"):
        gray = np.asarray(picture.convert("L"))
        if mode == "F":
            return Image.fromarray(gray.astype(np.float32) / 255)
        if mode == "I":
            return Image.fromarray(gray.astype(np.int32) * 200)
        return Image.frombytes(mode, size, (gray.astype(">u2" if mode[-1] == "B" else "<u2") * 200).tobytes())
    through = {"La": "LA", "PA": "P"}.get(mode)
    if through == "P":
        return picture.convert("PA")
    return picture.convert(through).convert(mode) if through else picture.convert(mode)


FILES = {
    "1": ["png", "tiff"], "L": ["png", "tiff", "bmp", "jpg"], "LA": ["png", "tiff"], "P": ["png", "gif", "tiff"],
    "RGB": ["png", "jpg", "webp", "tiff", "bmp", "ppm"], "RGBA": ["png", "webp", "tiff"], "CMYK": ["jpg", "tiff"],
    "I": ["tiff"], "F": ["tiff"], "I;16": ["png", "tiff", "pgm"], "I;16B": ["tiff"], "YCbCr": ["tiff", "jpg"],
    "LAB": ["tiff"],
}  # fmt: skip


@pytest.mark.parametrize("orientation", [1, 6, 3])
@pytest.mark.parametrize(("mode", "ending"), [(mode, ending) for mode, endings in FILES.items() for ending in endings])
def test_a_picture_in_memory_is_the_picture_of_its_file(
    mode: str, ending: str, orientation: int, tmp_path: Path
) -> None:
    if (mode, ending) == ("YCbCr", "tiff") and int(PIL.__version__.split(".")[0]) < 13:
        pytest.skip("Pillow before 13.0 cannot read the uncompressed YCbCr TIFF files that it writes")
    path, exif = tmp_path / f"a.{ending}", Image.Exif()
    exif[0x0112] = orientation
    turned = {} if orientation == 1 or ending in ("gif", "bmp", "ppm", "pgm") else {"exif": exif}
    if mode == "LAB":
        Image.frombytes("LAB", (8, 4), bytes(range(96))).save(path)
    else:
        drawn(mode).save(path, **turned)
    file = seen(path)
    assert np.ptp(file) > 50
    np.testing.assert_array_equal(seen(path.read_bytes()), file)
    for loaded in (False, True):
        # Not by its path: Pillow 13.0 maps some turned TIFF files into memory with width and height exchanged.
        with Image.open(io.BytesIO(path.read_bytes())) as opened:
            if loaded:
                opened.load()
            np.testing.assert_array_equal(seen(opened), file)


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "RGBX", "HSV", "YCbCr", "CMYK"])
def test_modes_of_memory_alone_are_what_they_stand_for(mode: str) -> None:
    plain = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}.get(mode, "RGB")
    picture = drawn(mode)
    np.testing.assert_array_equal(seen(picture), seen(picture.convert(plain)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16"])
def test_the_array_of_a_picture_is_the_picture(mode: str) -> None:
    picture = drawn(mode)
    np.testing.assert_array_equal(seen(np.asarray(picture)), seen(picture))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_integers_of_a_picture_may_be_wider_than_their_values(kind: type) -> None:
    pixels = np.asarray(drawn("RGB"))
    np.testing.assert_array_equal(seen(pixels.astype(kind)), seen(pixels))
    if kind not in (np.uint8, np.int16):
        np.testing.assert_array_equal(seen(pixels.astype(kind) * 257), seen(pixels))
        np.testing.assert_array_equal(seen(pixels[:, :, :1].astype(kind)), seen(pixels[:, :, 0]))
    gray = io.BytesIO()
    Image.fromarray(pixels[:, :, 0].astype(np.uint16)).save(gray, "PNG")
    np.testing.assert_array_equal(seen(gray.getvalue()), seen(pixels[:, :, 0]))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_a_picture(kind: type) -> None:
    pixels = np.asarray(drawn("RGB"))
    assert np.abs(seen((pixels / 255).astype(kind)).astype(int) - seen(pixels)).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [(np.float16, 1), (np.float32, 1), (np.float64, 1), (np.longdouble, 1), (np.int8, 127), (np.int16, 32767)]
    + [(kind, scale) for kind in (np.int32, np.int64) for scale in (2**15 - 1, 2**23 - 1, 2**31 - 1)],
)  # fmt: skip
def test_samples_of_every_type_are_one_sound(kind: type, scale: int, channels: int) -> None:
    wave = np.stack([WAVE] * channels, 1) if channels > 1 else WAVE
    samples = (np.rint(wave * scale) if scale > 1 else wave).astype(kind)
    np.testing.assert_allclose(heard((samples, 16000)), WAVE, atol=0.01)
    if kind in (np.int16, np.int32, np.float32):
        file = io.BytesIO()
        subtype = {np.int16: "PCM_16", np.int32: "PCM_32", np.float32: "FLOAT"}[kind]
        soundfile.write(file, samples, 16000, subtype, format="WAV")
        np.testing.assert_array_equal(heard((samples, 16000)), heard(file.getvalue()))
    np.testing.assert_array_equal(heard((samples.reshape(len(samples), -1), np.int32(16000))), heard((samples, 16e3)))


def test_samples_of_eight_bits_are_those_of_a_wav_file() -> None:
    samples = np.rint(WAVE * 127 + 128).astype(np.uint8)
    np.testing.assert_allclose(heard((samples, 16000)), WAVE, atol=0.01)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=30)
KINDS = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u8", "?", "c8", "O", "S3", "U2", "M8[s]", ">i2", "V4"]
ARRAYS = st.builds(
    lambda kind, shape, value: np.full(shape, value).astype(kind, casting="unsafe"),
    st.sampled_from(KINDS),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
    | st.sampled_from([(1, 1600), (1600, 1), (2, 1600)]),
    st.sampled_from([0, 1, 3]),
)
ANYTHING = SCALARS | ARRAYS | st.lists(SCALARS, max_size=3) | st.tuples(ARRAYS, SCALARS) | st.tuples(SCALARS, ARRAYS)


@pytest.mark.filterwarnings("ignore")  # numpy's, where the test makes its arrays
@settings(max_examples=400, deadline=None)
@given(given=ANYTHING | ARRAYS.map(lambda samples: (samples, 16000)))
def test_anything_else_is_told(given: Any) -> None:
    for read in (seen, heard):
        try:
            assert read(given).size
        except RequestError as error:
            assert error.what and error.fix and "\n" not in error.what + error.fix  # noqa: PT017, PT018


def closed() -> Image.Image:
    picture = Image.new("RGB", (9, 9))
    picture.close()
    return picture


def cut() -> Image.Image:
    file = io.BytesIO()
    Image.effect_noise((90, 60), 80).save(file, "JPEG")
    return Image.open(io.BytesIO(file.getvalue()[:1500]))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (cut(), "truncated"), (closed(), "closed image"), (Image.new("RGB", (0, 9)), "no pixels"),
        (Image.new("F", (9, 9), 7.0), "not from 0 to 1"), (np.full((9, 9, 3), 300.0), "not from 0 to 1"),
        (np.full((9, 9, 3), -1), "not from 0 to 65535"), (np.full((9, 9), np.nan), "not from 0 to 1"),
        (np.zeros((3, 64, 64), np.uint8), "shape (3, 64, 64)"), (np.zeros((9, 9), complex), "complex128"),
        ("~nobody-has-this-name/a.png", "No such file"), (b"", "empty"), (b"caf\xe9", "not a picture"),
    ],
)  # fmt: skip
def test_pictures_that_cannot_be_used(given: Any, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        seen(given)
    assert what in caught.value.what


@pytest.mark.parametrize("rate", [None, float("nan"), float("inf"), 10**12, 0, -1, 2.5, "16000", [16000], True])
def test_rates_that_are_none(rate: Any) -> None:
    with pytest.raises(RequestError, match="rate"):
        heard((WAVE, rate))


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        (WAVE[None], "(1, 8000) has 8,000 channels"), (np.stack([WAVE] * 2), "8,000 channels"),
        (WAVE[:0], "no samples"), (np.zeros((2, 3, 4)), "3-D"), (np.zeros(9, complex), "complex"),
        (np.full(8000, 2**40), "more than 32 bits"),
        (np.full(8000, 1e300), "not finite"), (np.full(8000, 20000.0), "full scale is 1"), (WAVE > 0, "bool"),
        (np.full(8000, 9, np.uint16), "uint16"),
    ],
)  # fmt: skip
def test_samples_that_cannot_be_used(samples: NDArray[Any], what: str) -> None:
    with pytest.raises(RequestError) as caught:
        heard((samples, 16000))
    assert what in caught.value.what
