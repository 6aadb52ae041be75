"""What ``set:NAME`` means in a recipe: where the file is looked for, and what is said where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import Document, RemoteFile, RequestError, expand_path
from muomni_cli.app import main
from muomni_cli.core.files import data_folder
from muomni_cli.data.public_datasets import missing_sets
from muomni_cli.data.sources import open_sources
from muomni_cli.recipe.load import load_recipe, shipped_recipes
from muomni_cli.recipe.problems import RecipeMistakesError
from muomni_cli.registry.sets import get_command, references_in, set_file, size_text
from tests.downloads.conftest import Declare

FILE = RemoteFile(url="https://example.org/shells.tar.gz", size=2_428_923_189, sha256="0" * 64)

RECIPE = """
[tokenizer]
use = "bytes"
[thinker]
use = "transformer"
d_model = 32
n_layers = 1
n_heads = 2
d_ff = 32
ctx_len = 32
[encoders.audio]
use = "listener"
[[data.text]]
use = "text"
path = "set:stories"
[[data.audio]]
use = "tar"
path = "set:speech-commands"
[[data.audio]]
use = "tar"
path = "set:fsdd"
[[data.audio]]
use = "tar"
path = "set:ljspeech-part"
eval_only = true
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """One that needs sets that are not here, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(RECIPE)
    return "small.toml"


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_order_of_places(data: Path, declare: Declare, tmp_path: Path) -> None:
    system = tmp_path / "system"
    declare("shells", ("sea/shells.tar",), (FILE,), system=(str(tmp_path / "nowhere"), str(system)))
    assert set_file("set:shells").find() is None
    for place in (system / "shells.tar", data / "sea/shells.tar"):
        place.parent.mkdir(parents=True)
        place.touch()
        assert expand_path("set:shells") == place
        assert expand_path("set:mine:shells") == place


def test_the_platform_folder_is_looked_at_only_without_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MUOMNI_DATA", raising=False)
    own = data_folder()
    assert own.name == "muomni"
    assert expand_path("${MUOMNI_DATA}/a") == expand_path("$MUOMNI_DATA/a") == own / "a"
    assert expand_path("${MUOMNI_DATA:-b}/a") == Path("b/a")
    (own / "speech").mkdir(parents=True)
    (own / "speech/fsdd_8k_flac.tar").touch()
    assert expand_path("set:fsdd").is_relative_to(own)
    monkeypatch.setenv("MUOMNI_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    with pytest.raises(RequestError, match=r"missing: fsdd \(12 MB\)"):
        expand_path("set:fsdd")


def test_stories_ship_and_may_be_exchanged(data: Path) -> None:
    shipped = expand_path("set:stories")
    assert shipped.name == "stories.txt.gz"
    (data / "text").mkdir(parents=True)
    (data / "text/stories_pd.txt").write_text("mine")
    assert expand_path("set:stories") == data / "text/stories_pd.txt"


def test_the_shipped_stories_are_whole(data: Path) -> None:  # noqa: ARG001
    (source,) = open_sources(load_recipe("stories"))
    items = list(source.dataset.documents())
    books = {item.key: item for item in items}
    assert all(isinstance(item, Document) for item in items)
    assert (len(books), source.dataset.unreadable) == (12, {})
    assert sum(len(item.text.encode()) for item in items if isinstance(item, Document)) > 5_600_000
    assert {item.key for item in items if item.split == "val"} == {items[1].key, items[7].key}


def test_a_missing_set_is_named_with_its_size_and_its_command(data: Path, declare: Declare) -> None:  # noqa: ARG001
    declare("shells", ("sea/shells.tar",), (FILE,))
    with pytest.raises(RequestError) as caught:
        expand_path("set:shells")
    assert caught.value.what == "missing: shells (2.4 GB)"
    assert caught.value.fix == "muomni data get shells"


@pytest.mark.parametrize(
    ("reference", "what", "fix"),
    [
        ("set:spech-commands", "there is no public dataset 'spech-commands'", "did you mean 'speech-commands'?"),
        ("set:mnist", "set:mnist has 4 files", "set:mnist/t10k-labels-idx1-ubyte.gz"),
        ("set:mnist/train-images", "has no file 'train-images'", "did you mean 'train-images-idx3-ubyte.gz'?"),
        ("set:", "'set:' does not name a public dataset", "set:NAME/FILE"),
    ],
)
def test_a_wrong_reference_is_explained(reference: str, what: str, fix: str) -> None:
    with pytest.raises(RequestError, match=r"public dataset|4 files") as caught:
        expand_path(reference)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_a_wrong_reference_is_a_mistake_of_the_recipe(recipe: str) -> None:
    with pytest.raises(RecipeMistakesError) as caught:
        load_recipe(recipe, ["data.audio.1.path=set:fssd", "data.text.0.path=set:mnist"])
    told = {mistake.key: mistake.message for mistake in caught.value.mistakes}
    assert told.keys() == {"data.audio.1.path", "data.text.0.path"}
    assert "did you mean 'fsdd'?" in told["data.audio.1.path"]


@pytest.mark.parametrize(
    ("words", "sets"),
    [
        (("train", "audio", "small.toml"), "speech-commands fsdd"),
        (("train", "all", "small.toml"), "speech-commands fsdd"),
        (("train", "audio", "small.toml", "--dry-run"), "speech-commands fsdd"),
        (("train", "audio", "small.toml", "data.audio.0.path=x.tar"), "fsdd"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_training_names_all_missing_sets_before_it_begins(
    words: Sequence[str], sets: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words) == 2
    error, fix = capsys.readouterr().err.splitlines()
    assert error.startswith("error: missing: ")
    assert fix == f"  fix: muomni data get {sets}"
    assert not Path("runs").exists()
    assert not data.exists()


def test_data_check_names_them_with_the_command(recipe: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    assert command("data", "check", recipe) == 0
    out = capsys.readouterr().out
    assert "missing: speech-commands (2.4 GB)" in out
    assert "get them with: muomni data get speech-commands fsdd ljspeech-part" in out


def test_what_is_missing_of_some_lists(recipe: str, data: Path) -> None:
    loaded = load_recipe(recipe)
    assert [*missing_sets(loaded)] == ["speech-commands", "fsdd", "ljspeech-part"]
    assert [*missing_sets(loaded, ["audio"], measured=False)] == ["speech-commands", "fsdd"]
    assert missing_sets(loaded, ["text", "nowhere"]) == {}
    (data / "speech").mkdir(parents=True)
    (data / "speech/fsdd_8k_flac.tar").touch()
    assert get_command(missing_sets(loaded)) == "muomni data get speech-commands ljspeech-part"


def test_no_shipped_recipe_names_a_folder_of_its_author() -> None:
    for shipped in shipped_recipes():
        for sources in load_recipe(str(shipped.path)).data.sources.values():
            for source in sources:
                for text in _texts(source.config.model_dump(mode="json")):
                    assert not text.startswith(("/", "..", "~", "$")), f"{shipped.name}: {text}"


def test_references_are_found_wherever_they_are() -> None:
    nested: dict[str, Any] = {"a": ["x", {"b": "set:fsdd"}], "c": "set: of things", "d": 3, "e": "set:mnist/x"}
    assert [*references_in(nested)] == [(("a", 1, "b"), "set:fsdd"), (("e",), "set:mnist/x")]


@pytest.mark.parametrize(
    ("size", "text"),
    [(7, "7 bytes"), (29_515, "30 kB"), (999_900, "1.0 MB"), (11_975_353, "12 MB"), (2_428_923_189, "2.4 GB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert size_text(size) == text


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
