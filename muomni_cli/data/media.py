"""One picture or sound, read as its encoder wants it, for data, chat and trace alike. Knows a function by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from muomni_cli.registry.registry import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from muomni_cli.contract.declarations import PartConfig
    from muomni_cli.contract.media import Media


def read_media(reference: str, config: PartConfig, media: Media) -> NDArray[Any]:
    """One input of an encoder.

    Args:
        reference: ``EncoderPart.read``.

    Raises:
        RequestError: it is not there, or cannot be read.
    """
    with media.open() as file:
        array: NDArray[Any] = resolve(reference)(config, file, media.name)
    return array
