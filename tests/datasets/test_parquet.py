"""Text in Parquet files: rows in order, keys, and what cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from muomni_datasets.config import ParquetConfig
from muomni_datasets.parquet import Parquet


def write(path: Path, **columns: list[Any]) -> Path:
    parquet.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def texts(source: Parquet) -> list[str]:
    return [document.text for document in source.documents()]


def test_rows_of_all_files_come_in_order_and_again(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", body=[f"b{n}" for n in range(5)])
    write(tmp_path / "a.parquet", body=[f"a{n}" for n in range(3)])
    source = Parquet(ParquetConfig(path=str(tmp_path), column="body"))
    assert texts(source) == texts(source) == ["a0", "a1", "a2", "b0", "b1", "b2", "b3", "b4"]
    assert len({document.key for document in source.documents()}) == 8


def test_a_column_of_keys_keeps_a_book_on_one_side(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", text=["one", "two", "three"], book=["x", "x", "y"])
    source = Parquet(ParquetConfig(path=str(path), key="book"))
    assert [document.key for document in source.documents()] == ["x", "x", "y"]


def test_rows_without_text_and_broken_files_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", text=["one", None, " ", "two"])
    write(tmp_path / "b.parquet", other=["three"])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and no more")
    source = Parquet(ParquetConfig(path=str(tmp_path)))
    assert texts(source) == ["one", "two"]
    told = source.unreadable
    assert told[str(tmp_path / "a.parquet")] == "row 2 has no text in the column text, and 1 more"
    assert "has no column text (it has other)" in told[str(tmp_path / "b.parquet")]
    assert "cannot be read" in told[str(tmp_path / "c.parquet")]
