"""Drawn pictures of everyday things with names: one, several of the same, or a pair; digits, words, and pictures without
a name. They are composed when opened, from icons that ``muomni data get things`` has drawn.

Picture ``i`` depends only on the settings, the seed, the split and ``i``. Lengths are in units of 1/64 of the picture's
shorter side.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from PIL import Image

from muomni_cli.api import Example, RequestError, expand_path, files
from muomni_datasets.config import SIDES
from muomni_datasets.grounds import UNITS, Backdrop, Rgb, Variation, backdrop, encoded, pixels, variation
from muomni_datasets.patterns import pattern
from muomni_datasets.pictures_config import ThingsConfig
from muomni_datasets.sprites import color_name, drawn, icon, members, solid_colors, styles_of, varied
from muomni_datasets.story_plots import NUMBERS, StoryRandom
from muomni_datasets.thing_names import NamedThing, thing_names
from muomni_datasets.writing import digit, odd_letters, printed, spelled

UNKNOWN = "I do not know what that is."
TRIES = 6  # grounds that are tried for an icon to be seen on
FEW = 6  # side of the icon that is compared with the ground
SEEN = 0.5  # share of an icon that must be seen on its ground
TEN = 10  # names to choose from
PAIR = (17.0, 27.0)  # side of the things of a pair
SAME = (13.0, 18.0)  # side of several of the same
WHERE = {"left of": ("left", "right"), "above": ("top", "bottom")}
"""Relation -> side of the first thing, side of the other."""


@dataclass(frozen=True, slots=True)
class Icon:
    """An icon in a picture; ``x`` and ``y`` are its center, ``side`` the longer of its sides, ``turn`` a seed of how it
    is varied (0: not)."""

    style: str
    emoji: str
    x: float
    y: float
    side: float
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """What picture number ``index`` shows: ``icons``, or a ``mask`` to be drawn by its name."""

    ground: Backdrop
    facts: Mapping[str, str]
    icons: Sequence[Icon] = ()
    mask: str = ""  # "digit 7", "letters STOP" or "pattern"
    ink: Rgb = (0, 0, 0)
    seed: str = field(default="", compare=False)


class Things:
    """A source of ``count`` pictures."""

    unreadable: Mapping[str, str] = MappingProxyType({})

    def __init__(self, config: ThingsConfig) -> None:
        self._config = config
        unknown = sorted(set(config.names) - set(thing_names().things))
        if unknown:
            raise RequestError(
                f"there is no thing named {', '.join(unknown)}", "names are those of muomni_datasets/things.txt"
            )

    def files(self) -> list[Path]:
        path = expand_path(self._config.path)
        files.open_regular(path).close()  # raises if it does not exist
        return [path]

    def documents(self) -> Iterator[Example]:
        config, (path,) = self._config, self.files()
        have = {name.partition("/")[0] for name in members(path)}
        if missing := [style for style in config.styles if style not in have]:
            raise RequestError(
                f"{path} has no pictures in the style {', '.join(missing)}",
                "delete it and make it again: muomni data get things; or choose other `styles`",
            )
        for index in range(config.count):
            media = ThingMedia("image", config, path, index)
            facts = media.facts
            key = f"thing {config.seed}{config.split}/{index}"
            yield Example(media, facts["text"], key, facts["label"], source="things", split=SIDES[config.split])


@dataclass(frozen=True, slots=True)
class ThingMedia:
    """Picture number ``index``, opened as PNG or JPEG."""

    modality: str
    config: ThingsConfig
    path: Path
    index: int

    @property
    def name(self) -> str:
        return f"picture {self.index} of things, seed {self.config.seed}"

    @property
    def facts(self) -> Mapping[str, str]:
        return compose(self.config, self.path, self.index).facts

    def open(self) -> BinaryIO:
        return io.BytesIO(picture_of(self.config, self.path, self.index))


def compose(config: ThingsConfig, path: Path, index: int) -> Picture:
    """What picture number ``index`` shows."""
    seed = f"{config.split}/{config.seed}/{index}"
    rng, gray = StoryRandom(f"things/{seed}"), variation(config, str(index)).gray
    show = rng.one(config.show)
    if show in ("digit", "word"):
        return _written(config, rng, show, seed, gray=gray)
    if show in ("unknown", "held"):
        return _unknown(config, path, rng, show, seed)
    things = drawn_things(path, config.styles, config.names)
    style = rng.one(config.styles)
    if show == "pair" and len(things) > 1:
        return _pair(config, path, rng, rng.some(things, 2))
    if show == "same" and (counted := [thing for thing in things if thing.plural]):
        return _same(config, path, rng, rng.one(counted), style)
    return _alone(config, path, rng, rng.one(things), style, gray=gray)


@lru_cache(maxsize=16)
def drawn_things(path: Path, styles: tuple[str, ...], names: tuple[str, ...]) -> list[NamedThing]:
    """The things of those names (empty: all) that are drawn in one of ``styles``, with the emoji that are. Raises
    RequestError: there are none."""
    known = thing_names().things
    every = (known[name] for name in names or known)
    things = [replace(thing, emoji=tuple(there)) for thing in every if (there := drawn(path, thing.emoji, styles))]
    if not things:
        raise RequestError(f"{path} has none of these things in {', '.join(styles)}", "name more `styles` or `names`")
    return things


def _style(config: ThingsConfig, path: Path, rng: StoryRandom, emoji: str, style: str) -> str:
    """``style``, or another one if an emoji is not drawn in it."""
    there = styles_of(path, emoji, config.styles)
    return style if style in there else rng.one(there)


def _alone(config: ThingsConfig, path: Path, rng: StoryRandom, thing: NamedThing, style: str, *, gray: bool) -> Picture:
    side = UNITS * rng.between(*config.sizes)
    room = (UNITS - side) / 2
    emoji = rng.one(thing.emoji)
    x, y = 32 + rng.between(-room, room), 32 + rng.between(-room, room)
    one = Icon(_style(config, path, rng, emoji, style), emoji, x, y, side)
    color = "" if gray else color_name(path, one.style, one.emoji)
    facts = {"text": _sentence(thing.some), "label": thing.name, "thing": thing.name, "a_thing": thing.some}
    if thing.plural:
        facts["count"] = "one"
    if color:
        facts["colour"] = color
    return _with_ground(config, path, rng, facts | _missing([thing], rng), [_turned(config, one, rng)])


def _same(config: ThingsConfig, path: Path, rng: StoryRandom, thing: NamedThing, style: str) -> Picture:
    """Two to four of a thing in different cells of a 3 x 3 grid."""
    count, side, emoji = 2 + rng.below(3), rng.between(*SAME), rng.one(thing.emoji)
    style = _style(config, path, rng, emoji, style)
    cells = rng.some([(column, row) for column in (11, 32, 53) for row in (11, 32, 53)], count)
    icons = [Icon(style, emoji, x + rng.between(-1, 1), y + rng.between(-1, 1), side) for x, y in cells]
    text = f"{NUMBERS[count].capitalize()} {thing.plural}."
    facts = {"text": text, "label": thing.name, "things": thing.plural, "count": NUMBERS[count]}
    return _with_ground(config, path, rng, facts | _missing([thing], rng), icons)


def _pair(config: ThingsConfig, path: Path, rng: StoryRandom, things: Sequence[NamedThing]) -> Picture:
    """One thing left of another, or above it, each in its half."""
    relation = rng.one(list(WHERE))
    icons = []
    for thing, along in zip(things, (16.5, 47.5), strict=True):
        across, side = rng.between(20, 44), rng.between(*PAIR)
        x, y = (along, across) if relation == "left of" else (across, along)
        style, emoji = rng.one(config.styles), rng.one(thing.emoji)
        icons.append(_turned(config, Icon(_style(config, path, rng, emoji, style), emoji, x, y, side), rng))
    first, other = things
    verb = "is" if first.plural or not first.name.endswith("s") else "are"
    facts = {"text": _sentence(f"{first.some} {verb} {relation} {other.some}"), "label": first.name}
    for side_name, thing in zip(WHERE[relation], things, strict=True):
        facts |= {side_name: thing.name, f"a_{side_name}": thing.some}
    return _with_ground(config, path, rng, facts | _missing(things, rng), icons)


def _turned(config: ThingsConfig, one: Icon, rng: StoryRandom) -> Icon:
    """An icon that is perhaps varied."""
    vary, seed = rng.between(0, 1) < config.vary, 1 + rng.below(1 << 31)
    return Icon(one.style, one.emoji, one.x, one.y, one.side, seed if vary else 0)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _missing(there: Sequence[NamedThing], rng: StoryRandom) -> dict[str, str]:
    """Things that are not in the picture: one that can be counted, and nine among which the first one hides."""
    others = [thing for thing in thing_names().things.values() if thing not in there]
    other = rng.one([thing for thing in others if thing.plural])
    more = StoryRandom(f"ten/{other.name}/{there[0].name}")
    ten = [thing.some for thing in more.some([there[0], *more.some(others, TEN - 1)], TEN)]
    return {
        "missing_thing": other.name, "a_missing_thing": other.some, "ten": f"{', '.join(ten[:-1])} or {ten[-1]}"
    }  # fmt: skip


def _with_ground(
    config: ThingsConfig, path: Path, rng: StoryRandom, facts: Mapping[str, str], icons: Sequence[Icon]
) -> Picture:
    """A picture of icons on a ground on which they are seen."""
    ground = backdrop(rng.one(config.grounds), rng)
    for _ in range(TRIES):
        if all(_share_seen(icon(path, one.style, one.emoji), ground) >= SEEN for one in icons):
            break
        ground = backdrop(rng.one(config.grounds), rng)
    return Picture(ground, facts, icons)


def _share_seen(picture: Image.Image, ground: Backdrop) -> float:
    """The share of an icon that is seen on a ground, also in gray."""
    colors = solid_colors(picture, FEW)
    return sum(ground.shows(color, gray=True) for color in colors) / len(colors) if colors else 1.0


def _written(config: ThingsConfig, rng: StoryRandom, show: str, seed: str, *, gray: bool) -> Picture:
    """A digit or a word in one color."""
    ground = backdrop(rng.one(config.grounds), rng)
    ink = _ink(rng, ground, gray=gray)
    if show == "digit":
        number = rng.below(10)
        facts = {"text": f"The digit {NUMBERS[number]}.", "label": NUMBERS[number], "digit": NUMBERS[number]}
        return Picture(ground, facts, mask=f"digit {number}", ink=ink, seed=seed)
    word, shown = spelled(rng)
    facts = {"text": f"The word {word}.", "label": word, "word": word}
    return Picture(ground, facts, mask=f"letters {shown}", ink=ink, seed=seed)


def _ink(rng: StoryRandom, ground: Backdrop, *, gray: bool) -> Rgb:
    """A color that is seen on a ground; most often black or white."""
    tries = [(rng.below(256), rng.below(256), rng.below(256)) for _ in range(TRIES)]
    colors: list[Rgb] = [*(tries if rng.below(3) == 0 else ()), (10, 10, 10), (250, 250, 250)]
    shown = (color for color in colors if ground.shows(color, gray=gray) and ground.shows(color, gray=True))
    dark = sum(ground.color) < 384
    return next(shown, (250, 250, 250) if dark else (10, 10, 10))


def _unknown(config: ThingsConfig, path: Path, rng: StoryRandom, show: str, seed: str) -> Picture:
    """An emoji without a name, a pattern, or letters that are no word."""
    facts = {"text": UNKNOWN, "label": "unknown", "unknown": UNKNOWN}
    kind = rng.below(4)
    nameless = drawn(path, thing_names().held if show == "held" else thing_names().unknown, config.styles)
    if nameless and (kind < 2 or show == "held"):
        emoji = rng.one(nameless)
        side = UNITS * rng.between(*config.sizes)
        room = (UNITS - side) / 2
        x, y = 32 + rng.between(-room, room), 32 + rng.between(-room, room)
        style = _style(config, path, rng, emoji, rng.one(config.styles))
        one = _turned(config, Icon(style, emoji, x, y, side), rng)
        return _with_ground(config, path, rng, facts, [one])
    ground = backdrop(rng.one(config.grounds), rng)
    if kind == 2:
        return Picture(ground, facts, mask="pattern", seed=seed)
    return Picture(ground, facts, mask=f"letters {odd_letters(rng)}", ink=_ink(rng, ground, gray=True), seed=seed)


def picture_of(config: ThingsConfig, path: Path, index: int) -> bytes:
    """The file of picture number ``index``."""
    shown = compose(config, path, index)
    how = variation(config, str(index)).on(shown.ground)
    return encoded(draw(config, path, shown, how), how)


def draw(config: ThingsConfig, path: Path, shown: Picture, how: Variation) -> Image.Image:
    """A picture before it is degraded."""
    size = pixels(how, config.size)
    if shown.mask == "pattern":
        return pattern(size, shown.ground, StoryRandom(f"pattern/{shown.seed}"))
    page = shown.ground.draw(size)
    if shown.mask:
        _write(config, page, shown, how)
    scale = config.size / UNITS
    for one in shown.icons:
        picture = icon(path, one.style, one.emoji)
        if one.turn:
            picture = varied(picture, StoryRandom(f"turn/{one.turn}"))
        ratio = one.side * scale / max(picture.size)
        picture = picture.resize((max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))))
        x, y = (length * scale for length in how.place(one.x, one.y))
        page.paste(picture, (round(x - picture.width / 2), round(y - picture.height / 2)), picture)
    return page


def _write(config: ThingsConfig, page: Image.Image, shown: Picture, how: Variation) -> None:
    """Digits are 0.3 to 0.95 of the picture high, words as wide as they may be, both turned a little."""
    rng = StoryRandom(f"writing/{shown.seed}")
    kind, _, text = shown.mask.partition(" ")
    mask = digit(int(text), rng) if kind == "digit" else printed(text, rng)
    mask = mask.rotate(rng.between(-12, 12), Image.Resampling.BILINEAR, expand=True)
    most = config.size * (rng.between(0.3, 0.95) if kind == "digit" else rng.between(0.75, 0.97))
    ratio = most / max(mask.size)
    mask = mask.resize((max(1, round(mask.width * ratio)), max(1, round(mask.height * ratio))))
    room = [(config.size - side) / 2 for side in mask.size]
    x, y = (config.size / 2 + rng.between(-free, free) for free in room)
    scale = config.size / UNITS
    x, y = (length * scale for length in how.place(x / scale, y / scale))
    page.paste(shown.ink, (round(x - mask.width / 2), round(y - mask.height / 2)), mask)
