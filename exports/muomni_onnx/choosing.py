"""Which precision each part of a bundle is asked to have. Knows words alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from muomni_cli.api import RequestError

Precision = Literal["fp32", "fp16", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Chosen:
    """A precision for all parts, and others for some."""

    rest: Precision = "fp32"
    parts: Mapping[str, Precision] = field(default_factory=dict)

    def of(self, part: str) -> Precision:
        """What ``part`` is asked to have."""
        return self.parts.get(part, self.rest)

    def require(self, parts: Collection[str]) -> None:
        """RequestError if it names a part that is not among these."""
        for part in self.parts:
            if part not in parts:
                raise RequestError(
                    f"--precision names the part {part!r}, and there is none", f"there are {_list(parts)}"
                )


def choose(words: Sequence[str]) -> Chosen:
    """From ``int8`` for all parts and ``talker=fp32`` for one of them, in any order; the last word on a part counts.

    Raises:
        RequestError: there is no such precision.
    """
    rest: Precision = "fp32"
    parts: dict[str, Precision] = {}
    for word in words:
        part, equals, name = word.rpartition("=")
        if name not in PRECISIONS or (equals and not part):
            raise RequestError(
                f"--precision {word!r} is none", f"write one of {_list(PRECISIONS)}, or PART=PRECISION for one part"
            )
        if equals:
            parts[part] = name
        else:
            rest = name
    return Chosen(rest, parts)


def _list(names: Collection[str]) -> str:
    return ", ".join(names)
