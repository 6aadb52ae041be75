"""Which parts of an image an answer depends on: how much less likely it gets when each part is covered.

Occlusion as by Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (arXiv 1311.2901). It asks
nothing of a model but answers, so that it works for every encoder, and without PyTorch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from muomni_cli.contract.data import Media, Message
from muomni_cli.core.errors import RequestError
from muomni_cli.inference.chat_model import ChatModel, EncodedTurn
from muomni_cli.inference.media_input import media_of
from muomni_cli.inference.settings import GenerationSettings

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE = "image"
LARGEST = 256  # pixels of the longer side of the images that are encoded; more would only cost time
Place: TypeAlias = tuple[int, int]  # of an image: number of its turn, and of the medium in it


def occlusion_map(
    model: ChatModel, messages: Sequence[Message], tokens: Sequence[int], settings: GenerationSettings, cells: int
) -> NDArray[np.float32] | None:
    """How much the log-likelihood of an answer falls when a part of the last image is covered with its mean color.

    Args:
        model: whose backend reads all of it in one batch of cells * cells + 1 rows.
        messages: the conversation before the answer.
        tokens: of the answer.
        settings: with which it was generated.
        cells: rows and columns into which the image is divided.

    Returns:
        (cells, cells), in nats, of rows from the top; None if there is no image, or no answer.

    Raises:
        RequestError: as for the answer itself.
    """
    turns = model.encoded_turns(messages, settings)
    place = _last_image(turns)
    if place is None or not tokens:
        return None
    with _small(turns[place[0]][1][place[1]][0]) as image:
        prompts = [
            model.laid_out(_with(model, turns, place, one), settings) for one in (image, *_covered(image, cells))
        ]
    scores = _log_likelihoods(model, prompts, tokens)
    falls: NDArray[np.float32] = (scores[0] - scores[1:]).reshape(cells, cells).astype(np.float32)
    return falls


def _last_image(turns: Sequence[EncodedTurn]) -> Place | None:
    places = [
        (turn, number) for turn, (_, taken) in enumerate(turns) for number, (one, _) in enumerate(taken)
        if one.modality == IMAGE
    ]  # fmt: skip
    return places[-1] if places else None


def _small(media: Media) -> Image:
    """The image, upright, and small where it can be decoded so."""
    from PIL import Image, ImageOps

    with media.open() as file, Image.open(file) as opened:
        opened.draft("RGB", (LARGEST, LARGEST))
        image = ImageOps.exif_transpose(opened)
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        image.thumbnail((LARGEST, LARGEST))
        return image


def _covered(image: Image, cells: int) -> Iterator[Image]:
    """``image`` with each of its cells covered, row by row."""
    pixels = np.asarray(image.convert("RGB"))
    mean = tuple(int(value) for value in pixels.reshape(-1, 3).mean(0).round())
    across, down = (np.linspace(0, side, cells + 1).round().astype(int).tolist() for side in image.size)
    for top, bottom in itertools.pairwise(down):
        for left, right in itertools.pairwise(across):
            covered = image.copy()
            covered.paste(mean, (left, top, right, bottom))
            yield covered


def _with(model: ChatModel, turns: Sequence[EncodedTurn], place: Place, image: Image) -> list[EncodedTurn]:
    """``turns`` with another image in its place, which is given as many tokens."""
    turn, number = place
    message, taken = turns[turn]
    [(media, rows)] = model.encode_media(media_of(IMAGE, image))
    changed = [*taken[:number], (media, rows[: len(taken[number][1])]), *taken[number + 1 :]]
    return [*turns[:turn], (message, changed), *turns[turn + 1 :]]


def _log_likelihoods(model: ChatModel, prompts: Sequence[Sequence[int]], tokens: Sequence[int]) -> NDArray[np.float64]:
    """(B,) sums over the log-probabilities of ``tokens`` after each prompt."""
    if len({len(prompt) for prompt in prompts}) > 1:
        raise RequestError("the parts of this image take different numbers of tokens", "leave the map out")
    room = model.context - len(prompts[0])
    state, logits = model.backend.begin(prompts, len(prompts[0]) + len(tokens[:room]))
    total = np.zeros(len(prompts))
    for number, token in enumerate(tokens[:room]):
        if number:
            logits = model.backend.step(state, np.full(len(prompts), tokens[number - 1], np.int64))
        wide = logits.astype(np.float64)
        top = wide.max(1, keepdims=True)
        total += wide[:, token] - top[:, 0] - np.log(np.exp(wide - top).sum(1))
    return total
