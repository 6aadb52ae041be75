"""Which parts of an image an answer depends on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, load
from muomni_cli.api import Message
from muomni_cli.inference.media_input import media_of

if TYPE_CHECKING:
    from tests.tiny_model import Whole

CELLS = 4
GROUND = (185, 195, 170)


@pytest.fixture(scope="module")
def nano() -> Iterator[Model]:
    with load("nano", threads=1) as model:
        yield model


def asked(text: str, *images: Image.Image) -> list[Message]:
    return [Message("user", text, tuple(one for image in images for one in media_of("image", image)))]


def answered(model: Model, messages: list[Message]) -> list[int]:
    reply = model.reply(messages, max_tokens=12)
    assert "".join(piece.text for piece in reply)
    return reply.answer.tokens


def square(x: int, y: int) -> Image.Image:
    picture = Image.new("RGB", (128, 128), GROUND)
    ImageDraw.Draw(picture).rectangle([x, y, x + 31, y + 31], fill=(30, 60, 220))
    return picture


@pytest.mark.parametrize(("column", "row"), [(0, 1), (2, 2), (3, 0)])
def test_an_answer_depends_on_the_only_shape(nano: Model, column: int, row: int) -> None:
    messages = asked("Describe the picture.", square(32 * column, 32 * row))
    falls = nano.occlusion(messages, answered(nano, messages), cells=CELLS)
    assert falls is not None
    assert falls.shape == (CELLS, CELLS)
    assert np.unravel_index(falls.argmax(), falls.shape) == (row, column)
    assert falls.max() > 1


def test_nothing_depends_on_a_part_that_looks_like_the_rest(nano: Model) -> None:
    messages = asked("Describe the picture.", Image.new("RGB", (90, 60), GROUND))
    falls = nano.occlusion(messages, answered(nano, messages), cells=CELLS)
    np.testing.assert_array_equal(falls, np.zeros((CELLS, CELLS)))


def test_the_last_of_several_images_is_covered(nano: Model) -> None:
    blank = Image.new("RGB", (128, 128), GROUND)
    for images, depends in (((square(32, 32), blank), False), ((blank, square(32, 32)), True)):
        messages = asked("What do you see?", *images)
        falls = nano.occlusion(messages, answered(nano, messages), cells=2)
        assert falls is not None
        assert (np.abs(falls).max() > 0.01) == depends


def test_without_an_image_or_an_answer_there_is_no_map(nano: Model) -> None:
    assert nano.occlusion(asked("Hello"), [5, 6]) is None
    assert nano.occlusion(asked("What is this?", square(0, 0)), []) is None


def test_a_bundle_gives_what_its_run_gives(whole: Whole) -> None:
    picture = Image.effect_mandelbrot((40, 30), (-2.0, -1.5, 1.0, 1.5), 50).convert("RGB")
    messages, maps = asked("what is this?", picture), []
    for place in (whole.bundle, whole.run):
        with load(place, threads=1) as model:
            maps.append(model.occlusion(messages, [7, 8, 9], cells=3))
    assert np.ptp(maps[0]) > 1e-6
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)
