"""Files that a user shows or plays: ``--image x.png``, ``--attach motion=walk.csv``. Reads nothing
but pipes yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muomni_cli.contract.media import Media
from muomni_cli.core.errors import RequestError
from muomni_cli.data.given import media_at, refuse_url, require_one_stdin
from muomni_cli.data.shares import Sense
from muomni_cli.registry.registry import did_you_mean


def attachment(modality: str, path: str, senses: Mapping[str, Sense]) -> Media:
    """One file for a model with ``senses``.

    Raises:
        RequestError: the words are not NAME=PATH, the path is a URL, or the model has no such sense.
    """
    if not modality or not path:
        raise RequestError(f"{modality or path!r} is not NAME=PATH", "for example: --attach image=cat.png")
    if modality not in senses:
        listed = f"it takes {' and '.join(senses)}" if senses else "it takes text alone: train the stage omni"
        raise RequestError(f"this model has no encoder for {modality}", did_you_mean(modality, list(senses), listed))
    return media_at(modality, path)


def check_words(words: Sequence[str]) -> None:
    """What can be seen of ``NAME=PATH`` words before a model is opened. RequestError for a URL, or stdin twice."""
    require_one_stdin(words)
    for word in words:
        refuse_url(word.partition("=")[2])


def attachments(words: Sequence[str], senses: Mapping[str, Sense]) -> list[Media]:
    """``NAME=PATH`` words as media; errors as in :func:`attachment`."""
    require_one_stdin(words)
    pairs = [word.partition("=") for word in words]
    return [attachment(modality, path, senses) for modality, _, path in pairs]
