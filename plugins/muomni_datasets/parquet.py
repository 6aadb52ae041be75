"""Text in the columns of Parquet files, read group by group with pyarrow (the extra ``data``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muomni_cli.api import Document
from muomni_datasets.config import ParquetConfig
from muomni_datasets.text import PIECE, Files, FilesSource, content_key, is_unicode

ROWS = 1024  # read at a time


class Parquet(FilesSource):
    """The documents of Parquet files, in the order of file names and rows."""

    def __init__(self, config: ParquetConfig) -> None:
        super().__init__(Files(config, (".parquet",)))
        self._column, self._key = config.column, config.key

    def documents(self) -> Iterator[Document]:
        for path in self._files.paths():
            self._files.forget(path)
            for number, (text, given) in enumerate(self._rows(path), 1):
                if not isinstance(text, str) or not text or text.isspace() or not is_unicode(text):
                    self._files.note(path, f"has no text in the column {self._column}", f"row {number}")
                    continue
                key = content_key(text[:PIECE]) if given is None else str(given)
                for start in range(0, len(text), PIECE):
                    yield Document(text=text[start : start + PIECE], key=key, source=str(path))

    def _rows(self, path: Path) -> Iterator[tuple[Any, Any]]:
        """Text and key of each row; None for a key where no column gives it."""
        import pyarrow
        from pyarrow import parquet

        columns = [self._column, *([self._key] if self._key else [])]
        try:
            with parquet.ParquetFile(path) as file:
                if missing := [name for name in columns if name not in file.schema_arrow.names]:
                    known = ", ".join(file.schema_arrow.names)
                    self._files.note(path, f"has no column {missing[0]} (it has {known})")
                    return
                for batch in file.iter_batches(batch_size=ROWS, columns=columns):
                    rows = [batch.column(name).to_pylist() for name in columns]
                    yield from zip(rows[0], rows[-1] if self._key else [None] * len(rows[0]), strict=True)
        except (OSError, pyarrow.ArrowException) as error:
            reason = str(error).partition("\n")[0] or type(error).__name__
            self._files.note(path, f"cannot be read ({reason})")
