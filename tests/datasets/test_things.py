"""Pictures of things: the same everywhere, true to their captions, and never what they are told not to show."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pydantic import ValidationError

from muomni_cli.api import RequestError
from muomni_datasets.grounds import GRAINS, backdrop, variation
from muomni_datasets.pictures_config import SHOWS, ThingsConfig
from muomni_datasets.sprites import hue_name
from muomni_datasets.story_plots import NUMBERS, StoryRandom
from muomni_datasets.thing_names import article, thing_names
from muomni_datasets.things import UNKNOWN, Things, compose
from muomni_datasets.writing import DIGITS, WORDS, drawn_digit, odd_letters, printed

COLORS = {"noto": (220, 40, 30), "fluent": (40, 60, 220), "twemoji": (30, 180, 60)}


@pytest.fixture(scope="module")
def tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs: each style has its color."""
    path, names = tmp_path_factory.mktemp("things") / "things.tar", thing_names()
    every = [emoji for thing in names.things.values() for emoji in thing.emoji]
    with tarfile.open(path, "w") as archive:
        for style, color in COLORS.items():
            disc, file = Image.new("RGBA", (32, 32)), io.BytesIO()
            ImageDraw.Draw(disc).ellipse([2, 2, 29, 29], fill=color)
            disc.save(file, "PNG")
            for emoji in [*every, *names.unknown, *names.held]:
                member = tarfile.TarInfo(f"{style}/{emoji}.png")
                member.size = len(file.getvalue())
                archive.addfile(member, io.BytesIO(file.getvalue()))
    return path


def made(tar: Path, **config: Any) -> list[Any]:
    return list(Things(ThingsConfig(path=str(tar), **config)).documents())


def test_names_are_distinct_and_no_emoji_has_two() -> None:
    names = thing_names()
    assert 300 <= len(names.things) <= 600
    every = [emoji for thing in names.things.values() for emoji in thing.emoji]
    assert len(every) == len(set(every))
    assert not set(names.unknown) & set(every)
    assert not set(names.held) & {*every, *names.unknown}
    assert len(names.unknown) >= 100 <= 2 * len(names.held)
    plurals = [thing.plural for thing in names.things.values() if thing.plural not in ("", thing.name)]
    assert len(set(plurals)) == len(plurals)
    assert not any(name in ["circle", "square", "triangle", "star"] for name in names.things)
    longest = max(len(thing.some) for thing in names.things.values())
    assert 2 * longest + len(" are left of .") < 64, "captions of nano's encoder hold 64 bytes"


@pytest.mark.parametrize(
    ("name", "wanted"), [("apple", "an"), ("unicorn", "a"), ("umbrella", "an"), ("T-shirt", "a"), ("cat", "a")]
)
def test_articles(name: str, wanted: str) -> None:
    assert article(name) == wanted


def test_a_picture_is_a_function_of_seed_side_and_number(tar: Path) -> None:
    few, many = made(tar, count=20, seed=3), made(tar, count=40, seed=3)
    assert [one.text for one in few] == [one.text for one in many[:20]]
    assert few == pickle.loads(pickle.dumps(few))
    assert [one.media.open().read() for one in few] == [one.media.open().read() for one in many[:20]]
    for other in ({"seed": 4}, {"split": "train"}, {"split": "val"}):
        assert [one.text for one in made(tar, count=20, **{"seed": 3, **other})] != [one.text for one in few]


def test_facts_are_true(tar: Path) -> None:
    names = thing_names().things
    for example in made(tar, count=600, vary=0.5):
        facts, shown = example.media.facts, compose(example.media.config, tar, example.media.index)
        shapes = [next((n for n, one in names.items() if icon.emoji in one.emoji), "") for icon in shown.icons]
        assert example.text == facts["text"]
        assert facts.get("missing_thing") not in shapes
        if "count" in facts:
            assert facts["count"] == NUMBERS[len(shown.icons)]
            assert set(shapes) == {facts["label"]}
        if "left" in facts:
            first, second = sorted(zip([icon.x for icon in shown.icons], shapes, strict=True))
            assert (facts["left"], facts["right"]) == (first[1], second[1])
            assert facts["text"].lower().startswith(facts["a_left"].lower())
        if "top" in facts:
            first, second = sorted(zip([icon.y for icon in shown.icons], shapes, strict=True))
            assert (facts["top"], facts["bottom"]) == (first[1], second[1])
        if facts["text"] == UNKNOWN:
            assert facts.keys() == {"text", "label", "unknown"}
        if "digit" in facts:
            assert shown.mask == f"digit {NUMBERS.index(facts['digit'])}"
        if "word" in facts:
            assert shown.mask.lower() == f"letters {facts['word']}"


def test_what_is_shown_is_chosen(tar: Path) -> None:
    for show in (*SHOWS, "held"):
        facts = [one.media.facts for one in made(tar, count=30, show=(show,))]
        key = {"thing": "thing", "same": "things", "pair": "a_missing_thing", "held": "unknown"}.get(show, show)
        assert all(key in one for one in facts), show
    held, unknown = ({icon.emoji for icon in icons(tar, show=(show,))} for show in ("held", "unknown"))
    assert held <= set(thing_names().held)
    assert unknown <= set(thing_names().unknown)
    few = made(tar, count=30, show=("thing", "pair"), names=("cat", "dog"))
    assert {one.label for one in few} == {"cat", "dog"}
    with pytest.raises(RequestError, match="no thing named catt"):
        made(tar, names=("catt",))


def icons(tar: Path, **config: Any) -> list[Any]:
    settings = ThingsConfig(path=str(tar), **config)
    return [icon for index in range(100) for icon in compose(settings, tar, index).icons]


def test_only_the_chosen_styles_are_drawn(tar: Path) -> None:
    assert {icon.style for icon in icons(tar)} == {"noto", "fluent"}
    assert {icon.style for icon in icons(tar, styles=("twemoji",))} == {"twemoji"}
    for style, name in zip(COLORS, ("red", "blue", "green"), strict=True):
        colors = {one.media.facts.get("colour") for one in made(tar, count=20, show=("thing",), styles=(style,))}
        assert colors == {name}


def test_what_a_style_does_not_have_is_drawn_in_another(tar: Path, tmp_path: Path) -> None:
    some, names = tmp_path / "some.tar", thing_names()
    cat, dog = names.things["cat"].emoji[0], names.things["dog"].emoji[0]
    with tarfile.open(tar) as full, tarfile.open(some, "w") as archive:
        for name in (f"noto/{cat}.png", f"fluent/{cat}.png", f"noto/{dog}.png"):
            member = full.getmember(name)
            archive.addfile(member, full.extractfile(member))
    found = {(icon.style, icon.emoji) for show in ("thing", "same", "pair") for icon in icons(some, show=(show,))}
    assert found == {("noto", cat), ("fluent", cat), ("noto", dog)}
    assert {icon.emoji for icon in icons(some, styles=("fluent",))} == {cat}
    assert not icons(some, show=("held",))
    assert {one.label for one in made(some, count=30, styles=("fluent",), show=("thing",))} == {"cat"}
    with pytest.raises(RequestError, match="none of these things in fluent"):
        made(some, count=1, styles=("fluent",), names=("dog",), show=("thing",))
    with pytest.raises(RequestError, match="no pictures in the style outline"):
        made(some, count=1, styles=("noto", "outline"))


def test_things_lie_inside_and_are_seen(tar: Path) -> None:
    for size in (64, 128):
        settings: dict[str, Any] = {"size": size, "sizes": (0.3, 0.85), "grounds": ("white", "black")}
        for example in made(tar, count=40, show=("thing", "same", "pair"), **settings):
            picture = np.asarray(Image.open(example.media.open()).convert("RGB")).astype(int)
            assert picture.shape == (size, size, 3)
            assert (np.ptp(picture, axis=(0, 1)) > 60).any(), example.text
            edge = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
            assert (np.abs(edge - np.median(edge, axis=0)).max(1) < 60).mean() > 0.85, example.text


def test_pictures_are_degraded(tar: Path) -> None:
    settings: dict[str, Any] = {"aspect": (2.0, 2.0), "quality": (40, 60), "gray": 1.0, "count": 60}
    files = [Image.open(one.media.open()) for one in made(tar, grounds=("white", "any"), **settings)]
    assert {file.format for file in files} == {"JPEG"}
    assert {file.size for file in files} == {(64, 128), (128, 64)}
    assert all((np.ptp(np.asarray(file.convert("RGB")).astype(int), axis=2) < 8).all() for file in files)
    assert {Image.open(one.media.open()).size for one in made(tar, grounds=("noise",), **settings)} == {(64, 64)}
    assert not any("colour" in one.media.facts for one in made(tar, count=60, gray=1.0))
    mixed = [Image.open(one.media.open()) for one in made(tar, count=60, quality=(40, 60), plain=0.5)]
    assert {file.format for file in mixed} == {"JPEG", "PNG"}
    with pytest.raises(ValidationError, match="above its end"):
        ThingsConfig(aspect=(2.0, 1.5))
    with pytest.raises(ValidationError, match="above its end"):
        ThingsConfig(sizes=(0.9, 0.5))


def test_objects_keep_their_places_in_oblong_pictures() -> None:
    for number in range(100):
        varied = variation(ThingsConfig(aspect=(1.0, 3.0)), str(number))
        width, height = varied.size(64)
        corners = [varied.place(x, y) for x in (0, 64) for y in (0, 64)]
        assert all(-1e-9 <= x <= width + 1e-9 and -1e-9 <= y <= height + 1e-9 for x, y in corners)
        assert varied.place(10, 30)[0] < varied.place(20, 30)[0]
        assert varied.place(10, 30)[1] < varied.place(10, 40)[1]


@pytest.mark.parametrize("name", ["white", "dark-blue", "any", "gradient", "noise"])
def test_grounds_have_the_colors_that_they_tell(name: Any) -> None:
    for number in range(20):
        ground = backdrop(name, StoryRandom(f"ground {number}"))
        drawn = np.asarray(ground.draw((24, 16))).astype(int).reshape(-1, 3)
        shades = np.array(ground.shades)
        assert (drawn.min(0) >= shades.min(0) - GRAINS[1]).all()
        assert (drawn.max(0) <= shades.max(0) + GRAINS[1]).all()
        if name == "dark-blue":
            assert drawn[0].argmax() == 2
        far = tuple(255 if level < 128 else 0 for level in ground.color)
        assert ground.shows(far) or name == "gradient"  # type: ignore[arg-type]
        assert not ground.shows(ground.color)


def test_writing_is_varied_and_fills_its_mask() -> None:
    assert sorted(DIGITS) == list(range(10))
    masks = [drawn_digit(number % 10, StoryRandom(str(number))) for number in range(40)]
    assert len({mask.tobytes() for mask in masks}) == 40
    for mask in (*masks, printed("STOP", StoryRandom("a"))):
        assert mask.getbbox() == (0, 0, *mask.size)
    salad = [odd_letters(StoryRandom(str(number))).lower() for number in range(200)]
    assert not set(salad) & set(WORDS)


@pytest.mark.parametrize(
    ("color", "name"),
    [
        ((230, 20, 20), "red"), ((20, 160, 40), "green"), ((30, 60, 220), "blue"), ((250, 220, 30), "yellow"),
        ((255, 140, 10), "orange"), ((120, 70, 20), "brown"), ((15, 15, 15), "black"), ((250, 250, 250), "white"),
        ((130, 130, 130), "gray"), ((140, 40, 200), "purple"), ((250, 100, 190), "pink"),
    ],
)  # fmt: skip
def test_colors_are_named_as_people_do(color: tuple[int, int, int], name: str) -> None:
    assert hue_name(*color) == name


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUOMNI_DATA", str(tmp_path))
    with pytest.raises(RequestError) as caught:
        next(iter(Things(ThingsConfig()).documents()))
    assert caught.value.fix == "muomni data get things"
    with pytest.raises(RequestError, match=r"some\.tar"):
        made(tmp_path / "some.tar")
    (tmp_path / "some.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(RequestError, match="cannot be read"):
        made(tmp_path / "some.tar")
