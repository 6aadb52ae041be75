"""``muomni data check``: it counts right, names what is wrong, and finishes whatever it meets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from muomni_cli.data.check import Lengths, check
from muomni_cli.data.text import known_tokenizer
from muomni_text.bpe import BPETokenizer
from muomni_text.byte_level import ByteTokenizer

Make = Callable[..., Any]
LINE = "This long line is in the training text and in the validation text."


def test_counts_lengths_duplicates_and_bad_files(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    (tmp_path / "a.txt").write_text(f"held out\n{LINE}\n\nfirst\n{LINE}\n\nshort")
    (tmp_path / "b.txt").write_bytes(b"\xff")
    recipe = recipe_of(
        choose("dataset", "text", path=str(tmp_path), holdout=["^held"]),
        choose("dataset", "text", path=str(tmp_path / "nowhere")),
        val_fraction=0.0,
    )
    recipe.thinker = SimpleNamespace(config=SimpleNamespace(ctx_len=20))
    report = check(recipe, ByteTokenizer())
    good, missing = report.sources
    assert good.stats.documents == {"train": 2, "val": 1}
    assert good.stats.characters["train"] == len(f"first\n{LINE}") + len("short")
    assert good.stats.tokens["train"] == good.stats.characters["train"] + 4
    assert good.longer == 2
    assert good.longest == len(f"held out\n{LINE}") + 2
    assert good.example.startswith("<bos>held out\nThis long")
    assert "nowhere" in missing.error
    assert (report.val_lines, report.shared, report.shared_example) == (1, 1, LINE)
    warnings = "\n".join(report.warnings)
    assert all(word in warnings for word in ("b.txt", "nowhere", "1 of 1 long validation lines"))
    assert report.usable


def test_without_a_tokenizer_lengths_are_characters(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    (tmp_path / "a.txt").write_text("abc\n\nabcdef")
    report = check(recipe_of(choose("dataset", "text", path=str(tmp_path)), val_fraction=0.0), None)
    assert report.sources[0].unit == "characters"
    assert report.sources[0].longest == 6
    assert report.sources[0].longer is None
    assert report.sources[0].example == "abc"
    assert report.refusals == [
        (
            "none of the 2 documents of [[data.text]] is for validation (data.val_fraction = 0.0)",
            "raise data.val_fraction, leave it out, or name some with `holdout`",
        )
    ]


def test_nothing_usable(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff")
    report = check(recipe_of(choose("dataset", "text", path=str(tmp_path))), None)
    assert not report.usable
    assert report.warnings


def test_which_tokenizer_is_known(choose: Make, recipe_of: Make, tmp_path: Path, bpe: BPETokenizer) -> None:
    recipe = recipe_of()
    assert known_tokenizer(recipe, tmp_path) is None
    recipe.tokenizer = choose("tokenizer", "bytes")
    assert isinstance(known_tokenizer(recipe, tmp_path), ByteTokenizer)
    recipe.tokenizer = choose("tokenizer", "bpe", vocab_size=285)
    assert known_tokenizer(recipe, tmp_path) is None
    bpe.save(tmp_path)
    known = known_tokenizer(recipe, tmp_path)
    assert known is not None
    assert known.vocab_size == 285
    recipe.tokenizer = choose("tokenizer", "bpe", vocab_size=270)
    assert known_tokenizer(recipe, tmp_path) is None


@given(lengths=st.lists(st.integers(0, 10**7), min_size=1))
def test_percentiles_are_close_to_the_truth(lengths: list[int]) -> None:
    counted = Lengths()
    for length in lengths:
        counted.add(length)
    assert counted.percentile(100) == counted.longest == max(lengths)
    middle = sorted(lengths)[(len(lengths) + 1) // 2 - 1]
    assert abs(counted.percentile(50) - middle) <= 0.005 * middle


def test_a_source_without_text_is_a_warning(tmp_path: Path, choose: Make, recipe_of: Make) -> None:
    (tmp_path / "empty.txt").touch()
    report = check(recipe_of(choose("dataset", "text", path=str(tmp_path / "empty.txt"))), None)
    assert not report.usable
    assert report.warnings[0] == "0-text: no text in what it names"
    assert [what for what, _ in report.refusals] == ["[[data.text]] has no documents"]


def test_lines_that_cannot_be_used_are_counted_once_however_often_they_are_read(
    tmp_path: Path, choose: Make, recipe_of: Make
) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"text": "A line that is long enough to be looked for on the other side"}\nno\nno\n{}\n')
    recipe = recipe_of(choose("dataset", "jsonl", path=str(path)), val_fraction=0.5)
    for _ in range(2):
        (warning,) = [line for line in check(recipe, None).warnings if str(path) in line]
        assert "line 2 is not JSON" in warning
        assert warning.endswith(", and 1 more; line 4 has no text in the field text")
