"""All mistakes at once, each blamed on the line or the override that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from muomni_cli.core.errors import RequestError
from muomni_cli.recipe.load import load_recipe
from muomni_cli.recipe.problems import RecipeMistakesError

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8", newline="")
        return path

    return write


def mistakes(path: Path, *overrides: str) -> dict[str, tuple[int, str]]:
    """Key -> line and message."""
    with pytest.raises(RecipeMistakesError) as raised:
        load_recipe(str(path), overrides)
    assert raised.value.exit_code == 2
    assert raised.value.fix
    found = {mistake.key: (mistake.line, f"{mistake.where}: {mistake.message}") for mistake in raised.value.mistakes}
    assert len(found) == len(raised.value.mistakes), "a mistake is told once"
    return found


FIVE = """\
name = "five"
[thinker]
use = "transformr"
[tokenizer]
use = "bpe"
vocab_sizes = 5
[train]
steps = "many"
[train.thinkr]
lr = 1
[[data.text]]
use = "tales"
[[data.text]]
use = "tales"
weight = 0
"""


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_five_mistakes_are_five_each_with_its_line(write: Write, newline: str) -> None:
    found = mistakes(write(FIVE.replace("\n", newline)))
    assert {key: line for key, (line, _) in found.items()} == {
        "thinker.use": 3,
        "tokenizer.vocab_sizes": 6,
        "train.steps": 8,
        "train.thinkr": 9,
        "data.text.1.weight": 15,
    }
    assert "did you mean 'transformer'?" in found["thinker.use"][1]
    assert "did you mean 'vocab_size'?" in found["tokenizer.vocab_sizes"][1]
    assert "did you mean 'thinker'?" in found["train.thinkr"][1]
    assert "mine.toml:8" in found["train.steps"][1]


@pytest.mark.parametrize(
    ("text", "key", "line", "said"),
    [
        ("[thinker]\nuse = 3", "thinker.use", 2, "needs use"),
        ("[thinker]\nd_model = 64", "thinker.use", 1, "needs use"),
        ("thinker = 3", "thinker", 1, "write [thinker]"),
        ("[tokeniser]\nuse = 'bpe'", "tokeniser", 1, "did you mean 'tokenizer'?"),
        ("seed = -1\n[thinker]\nuse='transformer'", "seed", 1, "is not a valid seed"),
        ("seed = true\n[thinker]\nuse='transformer'", "seed", 1, "an integer"),
        ("name = 'a/b'\n[thinker]\nuse='transformer'", "name", 1, "is not a valid name"),
        ("[thinker]\nuse='transformer'\n[data]\ntext = {use='tales'}", "data.text", 4, "[[data.text]]"),
        ("[thinker]\nuse='transformer'\n[[data.txet]]\nuse='tales'", "data.txet", 3, "did you mean 'text'?"),
        ("[thinker]\nuse='transformer'\n[train]\noptimizer = 'muom'", "train.optimizer", 4, "did you mean 'muon'?"),
        ("[thinker]\nuse='transformer'\n[train]\nsteps = '4'", "train.steps", 4, "valid integer"),
        ("[thinker]\nuse='transformer'\n[train]\nlr = inf", "train.lr", 4, "finite"),
        ("[thinker]\nuse='transformer'\n[train]\ndevice = 'gpu'", "train.device", 4, '"auto", "cpu"'),
        ("[thinker]\nuse='transformer'\nd_model = 250", "thinker", 1, "cannot be split"),
        ("[codec]\nuse = 'none'", "codec.use", 2, "there is no codec 'none'"),
        ("[encoders.audio]\nuse = 'vit'", "encoders.audio.use", 2, "encodes image, not audio"),
        (
            "[thinker]\nuse='transformer'\n[callbacks.tb]\nuse = 'tensorbord'",
            "callbacks.tb.use",
            4,
            "did you mean 'tensorboard'?",
        ),
        ("# nothing\n", "", 0, "names no part"),
    ],
)
def test_one_mistake(write: Write, text: str, key: str, line: int, said: str) -> None:
    found = mistakes(write(text))
    assert list(found) == [key]
    assert found[key][0] == line
    assert said in found[key][1]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_an_error_of_two_lines(write: Write, text: str) -> None:
    with pytest.raises(RequestError, match=r"^\S+ is empty") as caught:
        load_recipe(write(text))
    assert "\n" not in caught.value.what


def test_keys_that_do_not_go_together_are_told_besides_wrong_ones(write: Write) -> None:
    text = "[thinker]\nuse='transformer'\n[train]\noptimizer='adam'\nwarmup_steps=20\nsteps=10\naccumulate=3"
    assert list(mistakes(write(text))) == ["train.optimizer", "train.warmup_steps", "train.accumulate"]


def test_what_train_has_wrong_is_not_told_again_for_every_stage(write: Write) -> None:
    text = "[thinker]\nuse='transformer'\n[train]\nlr = -1\n[train.thinker]\nsteps = 5\nwarmup_steps = 9"
    found = mistakes(write(text))
    assert {key: line for key, (line, _) in found.items()} == {"train.lr": 4, "train.thinker.warmup_steps": 7}


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("train.steps=no", "train.steps"),
        ("thinker.n_layer=2", "thinker.n_layer"),
        ("thinker={use='nope'}", "thinker.use"),
        ("thinker=3", "thinker"),
        ("data.text.0=3", "data.text.0"),
        ("data.text.7.use=tales", "data.text.7.use"),
        ("thinker.d_model.x=1", "thinker.d_model.x"),
        ("train.steps", "train.steps"),
        ("=3", ""),
    ],
)
def test_an_override_is_blamed_for_its_own_mistake(override: str, key: str) -> None:
    found = mistakes(Path("omni"), override)
    assert list(found) == [key]
    assert found[key][0] == 0
    assert f"override {override!r}" in found[key][1]


def test_a_table_that_an_override_spoils_names_both() -> None:
    found = mistakes(Path("omni"), "thinker.d_model=250")
    assert "omni.toml:18 with 'thinker.d_model=250'" in found["thinker"][1]


@pytest.mark.parametrize(("text", "line"), [("a = 1\nb = = 2\n", 2), ("a = 1\n[t\n", 2), ('x = """never closed', 1)])
def test_a_syntax_error_has_its_line(write: Write, text: str, line: int) -> None:
    (found,) = mistakes(write(text)).values()
    assert found[0] == line


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    for name, said in [("latin.toml", "not UTF-8"), (".", "is a folder"), ("absent.toml", "there is no recipe")]:
        with pytest.raises(RequestError, match=said) as raised:
            load_recipe(str(tmp_path / name))
        assert raised.value.fix
    with pytest.raises(RequestError) as raised:
        load_recipe("omnni")
    assert "did you mean 'omni'?" in raised.value.fix


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b"\xef\xbb\xbf[thinker]\r\nuse = 'transformer'\r\n")
    assert load_recipe(str(path)).thinker is not None
