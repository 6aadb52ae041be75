"""The sources of a table, split together: what is held out, what is cut, what is said of it, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from muomni_cli.api import Conversation, Document, Example, Message, RequestError
from muomni_cli.app import main
from muomni_cli.contract.data import Item
from muomni_cli.data import split
from muomni_cli.data.examples import open_examples
from muomni_cli.data.sources import open_sources
from muomni_cli.data.split import SourceSplit, SplitDataset, split_of_key
from muomni_cli.data.text import open_text
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.model import Recipe
from muomni_cli.registry.registry import resolve
from muomni_text.byte_level import ByteTokenizer

Load = Callable[..., Recipe]
HEAD = """
name = "own"
[tokenizer]
use = "bytes"
[encoders.image]
use = "vit"
size = 16
patch = 8
"""
TEXT = '[[data.text]]\nuse = "text"\npath = "texts"\n'
PICTURES = '[[data.image]]\nuse = "folder"\npath = "pictures"\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load() -> Load:
    def write(text: str, *overrides: str) -> Recipe:
        Path("own.toml").write_text(HEAD + text, encoding="utf-8")
        return load_recipe("own.toml", overrides)

    return write


class Given:
    """A dataset of these items."""

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.unreadable: dict[str, str] = {}

    def documents(self) -> Iterator[Item]:
        yield from self.items

    def files(self) -> list[Path]:
        return []


def split_up(*sources: list[Item], val_fraction: float | None = None) -> list[list[Item]]:
    given = [Given(items) for items in sources]
    table = SourceSplit(given, val_fraction)
    return [list(SplitDataset(one, table).documents()) for one in given]


def documents(count: int, begin: str = "text") -> list[Item]:
    return [Document(f"{begin} {number}", f"{begin} {number}") for number in range(count)]


def sides_in(items: list[Item]) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for item in items:
        found.setdefault(item.key, set()).add(item.split)
    return found


def texts(names: dict[str, str]) -> None:
    Path("texts").mkdir()
    for name, text in names.items():
        (Path("texts") / name).write_text(text)


def pictures(*names: str) -> None:
    for number, name in enumerate(names):
        path = Path("pictures") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (10 * number % 255, 20, 30)).save(path)


def quiet(line: str) -> None:
    assert line


@pytest.mark.parametrize("val_fraction", [None, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("count", [2, 3, 12, 40])
def test_no_side_is_empty(count: int, val_fraction: float | None) -> None:
    (found,) = split_up(documents(count), val_fraction=val_fraction)
    assert {item.split for item in found} == {"train", "val"}
    assert len(found) == count


def test_each_source_has_its_own_validation_by_default() -> None:
    few, many = split_up(documents(10, "few"), documents(900, "many"))
    assert Counter(item.split for item in few)["val"] == 2
    assert Counter(item.split for item in many)["val"] == 90


def test_sources_of_one_item_each_are_split_together() -> None:
    found = split_up(documents(1, "a"), documents(1, "b"))
    assert sorted(str(item.split) for items in found for item in items) == ["train", "val"]


def test_what_another_source_gives_changes_no_side() -> None:
    alone = split_up(documents(30, "a"))[0]
    assert split_up(documents(30, "a"), documents(700, "b"))[0] == alone


def test_a_key_of_two_sources_is_on_one_side() -> None:
    shared, more = documents(12), documents(300)
    assert all(len(found) == 1 for found in sides_in([i for items in split_up(shared, more) for i in items]).values())


def test_what_a_source_assigns_stays_and_its_other_items_are_for_training() -> None:
    assigned: list[Item] = [Document("held", "held", split="val"), *documents(20)]
    (found,) = split_up(assigned)
    assert [item.key for item in found if item.split == "val"] == ["held"]
    (written,) = split_up(assigned, val_fraction=0.2)
    assert all(item.split == split_of_key(item.key, 0.2) for item in written[1:])


def test_a_key_that_another_source_assigns_follows_it() -> None:
    named: list[Item] = [Document("x", f"text {number}", split="train") for number in range(9)]
    _, found = split_up(named, documents(10))
    assert [item.key for item in found if item.split == "val"] == ["text 9"]


def test_what_is_left_takes_the_side_that_nothing_is_assigned_to() -> None:
    for assigned, left in (("train", "val"), ("val", "train")):
        one: list[Item] = [Document("x", "x", split=assigned), Document("y", "y")]  # type: ignore[arg-type]
        assert [item.split for item in split_up(one, val_fraction=0.5)[0]] == [assigned, left]


def test_a_written_zero_holds_out_nothing_more() -> None:
    (found,) = split_up(documents(50), val_fraction=0.0)
    assert {item.split for item in found} == {"train"}


def test_with_a_written_share_reading_ends_when_both_sides_are_known() -> None:
    class Counting(Given):
        read = 0

        def documents(self) -> Iterator[Item]:
            for item in self.items:
                self.read += 1
                yield item

    source = Counting(documents(20_000))
    assert SourceSplit([source], 0.1).decision.splits(0) == "val"
    assert source.read <= split.AT_A_TIME


def test_many_texts_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "MANY", 300)
    (found,) = split_up(documents(5_000))
    assert all(item.split == split_of_key(item.key, 0.01) for item in found)


@pytest.mark.parametrize("file", ["tales.toml", "scenes.toml", "quiz.toml"])
def test_shipped_recipes_are_split_as_ever(file: str) -> None:
    recipe = load_recipe(file.removesuffix(".toml"))
    assert recipe.data.val_fraction is not None
    compared = 0
    for table in ("text", "image"):
        for chosen, source in zip(recipe.data.sources.get(table, ()), _opened(recipe, table), strict=True):
            own = resolve(chosen.registered.part.build, "test")(chosen.config)
            pairs = zip(own.documents(), source.dataset.documents(), strict=True)
            for before, after in islice(pairs, 1_500):
                assert after.split == (before.split or split_of_key(before.key, recipe.data.val_fraction))
                assert (after.key, getattr(after, "text", "")) == (before.key, getattr(before, "text", ""))
                compared += 1
    assert compared >= 1_500


def _opened(recipe: Recipe, table: str) -> list[object]:
    return list(open_sources(recipe, table)) if recipe.data.sources.get(table) else []


def test_every_shipped_recipe_writes_its_share() -> None:
    from muomni_cli.recipe.load import shipped_recipes

    for shipped in shipped_recipes():
        assert load_recipe(shipped.name).data.val_fraction is not None, shipped.name


LINES = "\n".join(f"Line {number} of a text that somebody wrote, all in one paragraph." for number in range(200))


@pytest.mark.parametrize(
    "files",
    [
        {"a.txt": LINES},
        {"a.txt": LINES.replace("\n", " ")},
        {"a.txt": "ab" * 5_000},
        {"a.txt": LINES, "b.txt": LINES.upper()},
        {"a.txt": LINES, "b.txt": "Short."},
        {"a.txt": "word " * 500_000},
        {"a.txt": LINES + "\n\nOne more."},
    ],
    ids=["lines", "line", "no spaces", "two files", "uneven files", "several pieces", "title"],
)
def test_few_texts_are_cut_and_nothing_is_lost(files: dict[str, str], load: Load) -> None:
    texts(files)
    (source,) = open_sources(load(TEXT))
    found = [item for item in source.dataset.documents() if isinstance(item, Document)]
    assert {item.split for item in found} == {"train", "val"}
    raw = [item.text for item in as_read()]
    assert "".join(item.text for item in found) == "".join(raw)
    whole = sum(map(len, raw))
    assert 0.05 * whole < sum(len(item.text) for item in found if item.split == "val") < 0.25 * whole
    assert all(len(found) == 1 for found in sides_in(list(found)).values())
    data = open_text(load(TEXT), ByteTokenizer(), quiet)
    assert data.stats[0].cut == len(files) or "One more" in raw[-1]
    (told,) = data.validating
    assert "too few to hold out whole ones" in told.line()


def as_read() -> list[Document]:
    from muomni_datasets.config import TextConfig
    from muomni_datasets.text import TextFiles

    return list(TextFiles(TextConfig(path="texts")).documents())


def test_documents_of_about_one_length_are_held_out_whole(load: Load) -> None:
    texts({"a.txt": "\n\n".join(f"Document {number}. " + "Some words of it. " * 60 for number in range(12))})
    data = open_text(load(TEXT), ByteTokenizer(), quiet)
    assert (data.stats[0].documents, data.stats[0].cut) == ({"train": 10, "val": 2}, 0)


def test_one_picture_in_each_folder_and_five(load: Load) -> None:
    pictures("cat/1.png", "dog/1.png")
    found = open_examples(load(PICTURES), "image", 0, quiet)
    assert (len(found.train), len(found.val)) == (1, 1)
    pictures(*(f"{label}/{number}.png" for label in ("cat", "dog") for number in range(5)))
    found = open_examples(load(PICTURES), "image", 0, quiet)
    assert sorted(str(label) for label in found.val.labels) == ["cat", "dog"]
    (told,) = found.validating
    assert told.line() == "image, 0-folder: 2 of 10 pictures held out"
    (warning,) = told.warnings()
    assert "2 pictures held out: scores are uncertain by ±0.50" in warning


def test_a_single_item_is_refused(load: Load) -> None:
    pictures("cat/1.png")
    with pytest.raises(RequestError, match=r"no picture .* a single one") as caught:
        open_examples(load(PICTURES), "image", 0, quiet)
    assert "at least one more" in caught.value.fix
    Path("talk.jsonl").write_text(json.dumps({"messages": [{"role": "assistant", "content": "Hi"}]}) + "\n")
    with pytest.raises(RequestError, match="a single one"):
        open_text(load('[[data.text]]\nuse = "conversations"\npath = "talk.jsonl"\n'), ByteTokenizer(), quiet)


def test_a_single_letter_cannot_be_cut(load: Load) -> None:
    texts({"a.txt": "a"})
    with pytest.raises(RequestError, match=r"no document .* a single one"):
        open_text(load(TEXT), ByteTokenizer(), quiet)


def test_items_that_share_one_key_are_refused(load: Load) -> None:
    pictures(*(f"cat/ann-{number}.png" for number in range(6)))
    recipe = load(PICTURES + 'name = "(?P<label>[a-z]+)/(?P<key>[a-z]+)"\n')
    with pytest.raises(RequestError, match=r"6 pictures .* share one key \('ann'\)"):
        open_examples(recipe, "image", 0, quiet)


def test_a_holdout_that_matches_nothing_is_named(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(*(f"cat/{number}.png" for number in range(6)))
    recipe = load(PICTURES + 'holdout = ["nobody"]\n')
    with pytest.raises(RequestError, match="holdout 'nobody' matches no key") as caught:
        open_examples(recipe, "image", 0, quiet)
    assert "`holdout`" in caught.value.fix
    with pytest.raises(SystemExit):
        main(["data", "check", "own.toml", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert any("holdout 'nobody' matches no key" in warning for warning in found["warnings"])


def test_a_holdout_of_texts_that_matches_nothing_is_a_warning(load: Load) -> None:
    texts({"a.txt": "\n\n".join(f"Document {number}." for number in range(12))})
    data = open_text(
        load(TEXT + 'holdout = ["^Doc", "^Chapter"]\n', "data.text.0.holdout=['^Chapter']"), ByteTokenizer(), quiet
    )
    (warning, _) = data.validating[0].warnings()
    assert warning == "text, 0-text: holdout '^Chapter' matches no document"
    assert data.stats[0].documents == {"train": 10, "val": 2}


def test_a_holdout_that_matches_everything_is_named(load: Load) -> None:
    pictures("cat/1.png", "cat/2.png")
    with pytest.raises(RequestError, match=r"holdout '\.' matches every key"):
        open_examples(load(PICTURES + 'holdout = ["."]\n'), "image", 0, quiet)


def test_questions_about_few_pictures_are_for_both_sides(load: Load) -> None:
    pictures(*(f"{label}/{number}.png" for label in ("cat", "dog") for number in range(5)))
    recipe = load(
        '[[data.omni]]\nuse = "asked"\ncount = 20\nval_count = 5\nfrom.seen = {use = "folder", path = "pictures"}\n'
        '[[data.omni.ask]]\nquestion = ["What is it?"]\nanswer = "{seen.label}"\n'
    )
    (source,) = open_sources(recipe, "omni")
    found = list(source.dataset.documents())
    assert Counter(item.split for item in found) == {"train": 20, "val": 5}
    assert all(len(found) == 1 for found in sides_in(found).values())


def test_data_check_reports_what_validates(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    pictures(*(f"{label}/{number}.png" for label in ("cat", "dog") for number in range(5)))
    texts({"a.txt": LINES})
    load(PICTURES + TEXT)
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as done:
            main(["data", "check", "own.toml", *more])
        assert done.value.code == 0
    shown, found = capsys.readouterr().out.split("\n{\n", 1)
    assert "image, 0-folder: 2 of 10 pictures held out" in shown
    assert "text, 0-text: the end of the only document is held out" in shown
    report = json.loads("{" + found)
    counts = {one["table"]: (one["train"], one["val"], one["cut"]) for one in report["validating"]}
    assert counts == {"image": (8, 2, 0), "text": (1, 1, 1)}
    assert any("uncertain by ±0.50" in warning for warning in report["warnings"])


def test_conversations_and_examples_are_never_cut() -> None:
    example = Conversation((Message("assistant", "a" * 3_000),), "talk")
    long: list[Item] = [example, Conversation((Message("assistant", "b"),), "other")]
    (found,) = split_up(long)
    assert {item.split for item in found} == {"train", "val"}
    assert all(isinstance(item, Conversation) for item in found)
    assert not any(isinstance(item, Example) for item in found)
