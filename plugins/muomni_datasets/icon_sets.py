"""Converts icon sets in Iconify's format to one tar of small pictures: ``noto/1f34e.png``, named by style and by the
code points of the emoji. Only emoji are drawn that every set with code points has, and none in several skin tones.

A set is a package with ``icons.json``, which holds the SVG body of every icon by name, and mostly ``chars.json``, which
maps code points to names. Sets without it use the names of the others and draw the emoji whose names they have.
<https://iconify.design/docs/types/iconify-json.html>
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muomni_cli.api import RequestError
from muomni_datasets.archive_layouts import Advance
from muomni_datasets.pictures_config import STYLES

INSTALL = "install it: pip install 'muomni[pictures]'"
SIDE = 96  # pixels of a drawn icon
LARGEST = 1 << 27  # maximum size of a JSON file in bytes; the largest has 25 million
_TONE = re.compile(r"(^|-)1f3f[b-f](-|$)")
_VARIANT = "-fe0f"  # asks for the colored form, which some sets write and others do not


@dataclass(frozen=True, slots=True)
class IconSet:
    """Icons of one style. ``names``: the icon of an emoji, by code points in hexadecimal; empty if the set does not
    tell."""

    icons: Mapping[str, Any]
    names: Mapping[str, str]

    def has(self, name: str) -> bool:
        return name in self.icons["icons"] or name in self.icons.get("aliases", {})

    def named_as_in(self, others: Sequence[IconSet], emoji: Sequence[str]) -> IconSet:
        """This set with the names that ``others`` give to those ``emoji``, where it has an icon of that name."""
        names = {}
        for one in emoji:
            same = [name for other in others if self.has(name := other.names[one])]
            if same:
                names[one] = same[0]
        return IconSet(self.icons, names)

    def svg(self, emoji: str) -> str:
        """The drawing of an emoji. Raises ValueError: a mirrored or rotated icon refers to none."""
        name, flipped = self.names[emoji], False
        while name in (aliases := self.icons.get("aliases", {})):
            flipped ^= bool(aliases[name].get("hFlip"))
            name = aliases[name]["parent"]
        icon = self.icons["icons"].get(name)
        if icon is None:
            raise ValueError(f"there is no icon {name}")
        left, top, width, height = (
            icon.get(key, self.icons.get(key, default))
            for key, default in (("left", 0), ("top", 0), ("width", 16), ("height", 16))
        )
        body = icon["body"]
        if flipped:
            body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{body}</svg>'
        )


def draw_icons(archives: Sequence[Path], targets: Sequence[Path], advance: Advance) -> None:
    """Draw the icons of ``archives``, one for each of :data:`muomni_datasets.config.STYLES`.

    Raises:
        RequestError: resvg-py is not installed.
        ValueError: an archive holds no icon set, or the sets have no emoji in common.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise RequestError("the Python package resvg-py, which draws these pictures, is missing", INSTALL) from error
    sets = [read_set(archive) for archive in archives]
    pointed = [one for one in sets if one.names]
    common = sorted(set.intersection(*(set(one.names) for one in pointed))) if pointed else []
    if not common:
        raise ValueError("the icon sets have no emoji in common")
    with tarfile.open(targets[0], "w") as tar:
        for style, found, archive in zip(STYLES, sets, archives, strict=True):
            icon_set = found if found.names else found.named_as_in(pointed, common)
            for emoji in common:
                if emoji not in icon_set.names:
                    continue
                svg = icon_set.svg(emoji)
                picture = svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True)
                header = tarfile.TarInfo(f"{style}/{emoji}.png")
                header.size = len(picture)
                tar.addfile(header, io.BytesIO(picture))
            advance(archive.stat().st_size)


def read_set(archive: Path) -> IconSet:
    """The icon set of an npm archive. Raises ValueError: there is none in it."""
    with tarfile.open(archive, "r:gz") as tar:
        icons = _json(tar, "package/icons.json")
        chars = _json(tar, "package/chars.json") if "package/chars.json" in tar.getnames() else {}
    names: dict[str, str] = {}
    for points, name in chars.items():
        emoji = points.replace(_VARIANT, "")
        if not _TONE.search(emoji):
            names.setdefault(emoji, name)
    return IconSet(icons, names)


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    try:
        member = tar.getmember(name)
    except KeyError as error:
        raise ValueError(f"{name} is not in it") from error
    file = tar.extractfile(member)
    if file is None or member.size > LARGEST:
        raise ValueError(f"{name} is not a file, or too large")
    found = json.loads(file.read())
    if not isinstance(found, dict):
        raise ValueError(f"{name} is not an object")
    return found
