"""What ``muomni eval --json`` wrote of a model, read again. Knows no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muomni_cli.api import RequestError

if TYPE_CHECKING:
    from muomni_cli.contract.cards import Card


def read_scores(files: Sequence[Path]) -> list[Card]:
    """The cards in ``files``, without what was said sentence by sentence.

    Raises:
        RequestError: one cannot be read, or holds something else.
    """
    from muomni_cli.contract.cards import Card

    cards = []
    for file in files:
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
            cards += [Card(**_without_sentences(entry)) for entry in entries]
        except OSError as error:
            raise RequestError(f"cannot read {file}: {error.strerror or error}", "name what eval wrote") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{file} holds no cards of an evaluation", f"make them: muomni eval RECIPE -m MODEL --json > {file}"
            ) from error
    return cards


def _without_sentences(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "sentences"}
