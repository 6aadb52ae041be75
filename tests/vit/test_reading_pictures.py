"""Pictures from files: every kind comes out the right way up in the right colours, and nothing hostile does harm."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw

from muomni_cli.api import FileMedia, RequestError
from muomni_vit import preprocessing
from muomni_vit.plugin import VitConfig
from muomni_vit.preprocessing import to_input

CONFIG = VitConfig(size=16, patch=4)
RED, GREEN, BLUE, YELLOW, WHITE, GRAY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255,) * 3, (128,) * 3
CORNERS = [RED, GREEN, BLUE, YELLOW]
"""Top left, top right, bottom left, bottom right of :func:`drawn`."""

Color = tuple[int, ...]


def read(config: VitConfig, path: Path) -> NDArray[np.uint8]:
    """As a command reads what a user names."""
    with FileMedia("image", path).open() as file:
        return preprocessing.read(config, file, str(path))


def drawn(width: int = 40, height: int = 40, colors: list[Color] = CORNERS, mode: str = "RGB") -> Image.Image:
    """A picture of four quarters."""
    image = Image.new(mode, (width, height))
    pen = ImageDraw.Draw(image)
    for number, color in enumerate(colors):
        left, top = number % 2 * width // 2, number // 2 * height // 2
        pen.rectangle((left, top, left + width // 2 - 1, top + height // 2 - 1), fill=color)
    return image


def corners(array: NDArray[np.uint8], margin: int = 3) -> list[Color]:
    """What lies ``margin`` pixels inside of the four corners."""
    near, far = margin, -1 - margin
    places = [(near, near), (near, far), (far, near), (far, far)]
    return [tuple(int(value) for value in array[:, y, x]) for y, x in places]


def assert_corners(array: NDArray[np.uint8], wanted: list[Color], within: int = 0) -> None:
    assert array.shape == (3, 16, 16)
    assert array.dtype == np.uint8
    np.testing.assert_allclose(corners(array), wanted, atol=within)


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def refused(path: Path, config: VitConfig = CONFIG) -> str:
    """What is said of ``path``, after making sure that it takes one line and one more that says what to do."""
    with pytest.raises(RequestError) as caught:
        read(config, path)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.what + caught.value.fix
    assert caught.value.fix
    assert path.name in caught.value.what
    return caught.value.what


@pytest.mark.parametrize(
    ("ending", "within"),
    [("png", 0), ("bmp", 0), ("gif", 0), ("tiff", 0), ("ppm", 0), ("tga", 0), ("webp", 12), ("jpg", 12), ("ico", 0)],
)
def test_formats(tmp_path: Path, ending: str, within: int) -> None:
    assert_corners(read(CONFIG, saved(drawn(), tmp_path / f"picture.{ending}")), CORNERS, within)


def test_the_contents_decide_not_the_name(tmp_path: Path) -> None:
    drawn().save(tmp_path / "picture.txt", format="PNG")
    assert_corners(read(CONFIG, tmp_path / "picture.txt"), CORNERS)


def test_a_picture_in_memory_gives_what_its_file_gives(tmp_path: Path) -> None:
    path = saved(drawn(60, 30), tmp_path / "a.png")
    from_file = read(CONFIG, path)
    np.testing.assert_array_equal(to_input(CONFIG, drawn(60, 30)), from_file)
    from_bytes = preprocessing.read(CONFIG, io.BytesIO(path.read_bytes()), "a.png in a.tar")
    np.testing.assert_array_equal(from_bytes, from_file)
    np.testing.assert_array_equal(read(CONFIG, path), from_file)
    assert from_file.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, ending: str) -> None:
    stored = {  # what a camera held in this way has written
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = drawn(64, 32) if stored is None else drawn(64, 32).transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(image, tmp_path / f"turned.{ending}", exif=exif)
    array = read(CONFIG, path)
    assert_corners(array[:, 4:12].repeat(2, axis=1), CORNERS, within=25)  # 64 x 32 lies between bars
    np.testing.assert_array_equal(array[:, :4], 128)


def test_broken_exif_data_are_no_exif_data(tmp_path: Path) -> None:
    path = saved(drawn(), tmp_path / "broken.jpg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\x7f broken")
    assert_corners(read(CONFIG, path), CORNERS, within=12)


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    clear = [(255, 0, 0, 255), (0, 255, 0, 0), (0, 0, 255, 255), (255, 255, 0, 128)]
    image = drawn(colors=clear, mode="RGBA")
    assert_corners(read(CONFIG, saved(image, tmp_path / "a.png")), [RED, WHITE, BLUE, (255, 255, 127)])
    for mode in ("RGBa", "RGBA"):
        assert_corners(to_input(CONFIG, image.convert(mode)), [RED, WHITE, BLUE, (255, 255, 127)], within=1)
    gray = drawn(colors=[(0, 255), (0, 0), (90, 255), (0, 128)], mode="LA")
    wanted = [(0,) * 3, WHITE, (90,) * 3, (127,) * 3]
    assert_corners(read(CONFIG, saved(gray, tmp_path / "b.png")), wanted)
    assert_corners(to_input(CONFIG, gray.convert("La")), wanted, within=1)


def test_a_picture_of_which_nothing_shows_is_refused(tmp_path: Path) -> None:
    for mode, nothing, one in (("RGBA", (9, 9, 9, 0), (9, 9, 9, 1)), ("LA", (9, 0), (9, 255))):
        image = Image.new(mode, (30, 20), nothing)
        for ending in ("png", "webp", "tiff") if mode == "RGBA" else ("png",):
            assert "fully transparent" in refused(saved(image, tmp_path / f"nothing.{ending}"))
        image.putpixel((29, 19), one)
        assert read(CONFIG, saved(image, tmp_path / "something.png")).any()
    plain = Image.new("P", (30, 20))
    assert "fully transparent" in refused(saved(plain, tmp_path / "palette.png", transparency=0))
    assert "fully transparent" in refused(saved(plain, tmp_path / "palette.gif", transparency=0))


def test_palettes_with_and_without_a_transparent_color(tmp_path: Path) -> None:
    image = drawn().quantize(4)
    assert_corners(read(CONFIG, saved(image, tmp_path / "plain.png")), CORNERS)
    green = image.getpixel((39, 0))
    for name in ("clear.png", "clear.gif"):
        path = saved(image, tmp_path / name, transparency=green)
        assert_corners(read(CONFIG, path), [RED, WHITE, BLUE, YELLOW])
    assert_corners(to_input(CONFIG, drawn(colors=[(*c, 255) for c in CORNERS], mode="RGBA").convert("PA")), CORNERS)


def test_a_transparent_key_color(tmp_path: Path) -> None:
    assert_corners(read(CONFIG, saved(drawn(), tmp_path / "k.png", transparency=BLUE)), [RED, GREEN, WHITE, YELLOW])


def test_gray_of_one_eight_and_sixteen_bits(tmp_path: Path) -> None:
    wanted = [(value,) * 3 for value in (0, 100, 200, 255)]
    assert_corners(read(CONFIG, saved(drawn(colors=[0, 100, 200, 255], mode="L"), tmp_path / "8.png")), wanted)
    bits = read(CONFIG, saved(drawn(colors=[0, 1, 1, 0], mode="1"), tmp_path / "1.png"))
    assert_corners(bits, [(0,) * 3, WHITE, WHITE, (0,) * 3])
    deep = np.asarray(drawn(colors=[0, 100, 200, 255], mode="L")).astype(np.uint16) * 257
    for ending in ("png", "tiff", "pgm"):
        assert_corners(read(CONFIG, saved(Image.fromarray(deep), tmp_path / f"16.{ending}")), wanted)
    big_endian = Image.frombytes("I;16B", (40, 40), deep.astype(">u2").tobytes())
    assert_corners(to_input(CONFIG, big_endian), wanted)
    assert_corners(to_input(CONFIG, Image.fromarray(deep.astype(np.int32))), wanted)


def test_sixteen_bits_of_color(tmp_path: Path) -> None:
    """Pillow writes no such file, so this one is put together by hand."""
    deep = np.asarray(drawn()).astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    path = tmp_path / "48bit.png"
    path.write_bytes(png(40, 40, zlib.compress(rows), depth=16, kind=2))
    assert_corners(read(CONFIG, path), CORNERS)


def test_floats_from_zero_to_one_and_no_others(tmp_path: Path) -> None:
    values = np.asarray(drawn(colors=[0, 51, 204, 255], mode="L")).astype(np.float32) / 255
    path = saved(Image.fromarray(values), tmp_path / "float.tiff")
    assert_corners(read(CONFIG, path), [(value,) * 3 for value in (0, 51, 204, 255)])
    for wrong in (values * 255, values - 1, np.where(values > 0.5, np.nan, values)):
        with pytest.raises(RequestError, match="not from 0 to 1"):
            to_input(CONFIG, Image.fromarray(wrong.astype(np.float32)))
    with pytest.raises(RequestError, match="not from 0 to 65535"):
        to_input(CONFIG, Image.fromarray(np.full((4, 4), 70_000, np.int32)))


def test_colors_that_are_not_rgb(tmp_path: Path) -> None:
    for ending in ("jpg", "tiff"):
        path = saved(drawn().convert("CMYK"), tmp_path / f"cmyk.{ending}")
        assert_corners(read(CONFIG, path), CORNERS, within=12)
    assert_corners(to_input(CONFIG, drawn().convert("YCbCr")), CORNERS, within=2)
    assert_corners(to_input(CONFIG, drawn().convert("HSV")), CORNERS, within=3)
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(drawn(), srgb, lab, outputMode="LAB")
    assert converted is not None
    assert_corners(read(CONFIG, saved(converted, tmp_path / "lab.tiff")), CORNERS, within=25)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tiff"])
def test_of_what_moves_the_first_frame(tmp_path: Path, ending: str) -> None:
    others = [Image.new("RGB", (40, 40), color) for color in ("black", "white")]
    path = saved(drawn(), tmp_path / f"moves.{ending}", save_all=True, append_images=others)
    assert_corners(read(CONFIG, path), CORNERS, within=12)


def test_pad_shows_all_between_bars_of_the_mean_color() -> None:
    wide = to_input(CONFIG, drawn(80, 40))
    np.testing.assert_array_equal(wide[:, :4], 128)
    np.testing.assert_array_equal(wide[:, 12:], 128)
    assert corners(wide[:, 4:12], margin=1) == CORNERS
    high = to_input(CONFIG, drawn(40, 80))
    np.testing.assert_array_equal(high[:, :, [0, 3, 12, 15]], 128)
    assert corners(high[:, :, 4:12], margin=1) == CORNERS
    black = CONFIG.model_copy(update={"mean": (0.0, 1.0, 0.5)})
    assert tuple(to_input(black, drawn(80, 40))[:, 0, 0]) == (0, 255, 128)


def test_crop_keeps_the_center_and_stretch_keeps_all() -> None:
    image = Image.new("RGB", (80, 40), RED)
    image.paste(drawn(40, 40), (20, 0))
    cropped = to_input(CONFIG.model_copy(update={"fit": "crop"}), image)
    assert_corners(cropped, CORNERS)
    np.testing.assert_array_equal(cropped, to_input(CONFIG, drawn(40, 40)))  # nothing of the sides leaks in
    stretched = to_input(CONFIG.model_copy(update={"fit": "stretch"}), drawn(80, 40))
    assert_corners(stretched, CORNERS)


@settings(max_examples=80, deadline=None)
@given(
    ground=st.tuples(*[st.integers(0, 255)] * 3),
    longer=st.integers(1, 200),
    share=st.floats(0, 1),
    high=st.booleans(),
    side=st.sampled_from([16, 64, 150]),
)
def test_extend_sees_a_picture_on_plain_ground_as_if_it_were_square(
    ground: Color, longer: int, share: float, high: bool, side: int
) -> None:
    extend = CONFIG.model_copy(update={"fit": "extend", "size": side // 16 * 16})
    square = Image.new("RGB", (side, side), ground)
    other = tuple(255 - value if abs(255 - 2 * value) > 60 else 0 for value in ground)
    ImageDraw.Draw(square).rectangle((side // 4, 0, 3 * side // 4, side - 1), fill=other)
    square = square.transpose(Image.Transpose.TRANSPOSE) if high else square
    size, at = (side + longer, side), (round(share * longer), 0)
    page = Image.new("RGB", size[::-1] if high else size, ground)
    page.paste(square, at[::-1] if high else at)
    seen, alone = to_input(extend, page), to_input(extend, square)
    shown, wanted = ((np.abs(one.astype(int) - np.array(ground)[:, None, None]).max(0) > 30) for one in (seen, alone))
    assert shown.sum() == pytest.approx(wanted.sum(), rel=0.25)
    if side > 16:  # a sixteenth of what is looked at stays at each end; of fewer than 16 lines that is none
        assert np.abs(seen[:, 0, 0].astype(int) - ground).max() <= 30, "resampling rings a little"


def test_extend_goes_on_with_the_ground_where_both_ends_show_something() -> None:
    wide = Image.new("RGB", (80, 40), GREEN)
    for left in (0, 79):
        wide.putpixel((left, 20), RED)
    seen = to_input(CONFIG.model_copy(update={"fit": "extend"}), wide)
    assert (seen[:, :4] == np.array(GREEN)[:, None, None]).all()
    assert (seen[:, 12:] == np.array(GREEN)[:, None, None]).all()


@pytest.mark.parametrize("how", ["pad", "extend", "crop", "stretch"])
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (3000, 2), (16, 16), (17, 15), (65_535, 1)])
def test_any_shape_becomes_the_square(how: str, size: tuple[int, int]) -> None:
    config = CONFIG.model_copy(update={"fit": how})
    array = to_input(config, Image.new("RGB", size, GREEN))
    assert array.shape == (3, 16, 16)
    assert tuple(array[:, 8, 8]) == GREEN or how == "pad"
    assert (array == np.array(GREEN)[:, None, None]).all(0).any()


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_input(CONFIG, Image.fromarray(noise)), noise.transpose(2, 0, 1))


def test_a_large_jpeg_decoded_small_is_nearly_the_same(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 800).astype(np.uint8)
    image = Image.fromarray(
        np.stack([np.tile(ramp, (800, 1)), np.tile(ramp[:, None], (1, 800)), ramp * ramp[:, None]], 2)
    )
    path = saved(image, tmp_path / "large.jpg", quality=95)
    whole = to_input(CONFIG, Image.open(path))
    assert np.abs(read(CONFIG, path).astype(int) - whole).max() <= 6


def png(width: int, height: int, data: bytes, depth: int = 8, kind: int = 0) -> bytes:
    """A PNG file with any header over any data."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    """A GIF whose first frame is of another size than its screen."""
    start = b"GIF89a" + struct.pack("<HH", *screen) + b"\x80\0\0" + bytes(6)
    return start + b"," + struct.pack("<HHHH", 0, 0, *frame) + b"\0\x02\x02\x4c\x01\0;"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_truncated_and_garbled_files(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for ending in ("png", "jpg", "gif", "webp", "tiff", "bmp"):
        whole = saved(noise, tmp_path / f"whole.{ending}").read_bytes()
        what = refused(written(tmp_path / f"half.{ending}", whole[: len(whole) // 2]))
        assert "is damaged" in what or "not a picture" in what
    whole = (tmp_path / "whole.png").read_bytes()
    for place in range(8, 120, 3):  # a wrong byte here and there: a picture or a refusal, never another exception
        flipped = written(tmp_path / "flipped.png", whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(RequestError):
            assert read(CONFIG, flipped).shape == (3, 16, 16)


def test_headers_that_promise_too_much_are_refused_before_decoding(tmp_path: Path) -> None:
    what = refused(written(tmp_path / "huge.png", png(50_000, 50_000, zlib.compress(bytes(1000)))))
    assert "2500000000" in what.replace(",", "")
    assert "at most 50,000,000" in refused(written(tmp_path / "large.png", png(8_000, 8_000, b"")))
    assert "too many pixels" in refused(written(tmp_path / "larger.png", png(12_000, 10_000, b"")))
    assert "65,535 a side" in refused(written(tmp_path / "long.png", png(70_000, 1, b"")))
    assert "pixels" in refused(written(tmp_path / "bomb.gif", gif((1, 1), (50_000, 50_000))))
    assert "pixels" in refused(written(tmp_path / "screen.gif", gif((50_000, 50_000), (1, 1))))
    small = CONFIG.model_copy(update={"max_pixels": 1_599})
    path = saved(drawn(), tmp_path / "small.png")
    assert "40 x 40 = 1,600 pixels; at most 1,599" in refused(path, small)
    assert read(CONFIG.model_copy(update={"max_pixels": 1_600}), path).any()
    assert "bytes; at most 50 are" in refused(path, CONFIG.model_copy(update={"max_bytes": 50}))


def test_what_is_no_picture(tmp_path: Path) -> None:
    assert "not a picture" in refused(written(tmp_path / "text.png", b"Dear picture,\n"))
    assert "empty" in refused(written(tmp_path / "nothing.png", b""))
    assert "folder" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "missing.png")
    assert "cannot read" in refused(tmp_path / ("long" * 100))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert "EPS" in refused(written(tmp_path / "runs.eps", script))
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    assert "cannot read" in refused(tmp_path / "loop.png")


def test_pipes_devices_and_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "pipe" in refused(tmp_path / "pipe.png")
    assert "device" in refused(Path("/dev/null"))

    def forbidden(path: Path, _mode: str) -> None:  # as for any user but root
        raise PermissionError(13, "Permission denied", str(path))

    path = saved(drawn(), tmp_path / "secret.png")
    monkeypatch.setattr(Path, "open", forbidden)
    assert "Permission denied" in refused(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to measure memory")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """A bomb within the limit on pixels: 49 million of them from a file of some hundred kilobytes."""
    packer, rows = zlib.compressobj(1), bytes(1 + 7_000)
    data = b"".join(packer.compress(rows) for _ in range(7_000)) + packer.flush()
    path = written(tmp_path / "bomb.png", png(7_000, 7_000, data))
    code = (
        "import sys; from pathlib import Path; from muomni_vit.plugin import VitConfig; "
        "from muomni_vit.preprocessing import read; "
        "peak = lambda: int(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]); before = peak(); "
        "assert not read(VitConfig(), open(sys.argv[1], 'rb'), 'bomb').any(); "
        "print(peak() - before, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    kilobytes, has_torch = result.stdout.split()
    assert int(kilobytes) < 500_000
    assert has_torch == "False"


def test_others_keep_their_warnings(tmp_path: Path) -> None:
    path, before = saved(drawn(), tmp_path / "a.png"), list(warnings.filters)
    read(CONFIG, path)
    assert warnings.filters == before
