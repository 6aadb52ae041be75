"""Sources by URL, from fsspec's memory and from a web server of the test's own: what local files give, fetched once."""

from __future__ import annotations

import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from muomni_cli.api import MuomniError, RequestError
from muomni_datasets.archives import Tar
from muomni_datasets.config import FolderConfig, ManifestConfig, ParquetConfig, TarConfig, TextConfig
from muomni_datasets.labeled_files import Folder, Manifest
from muomni_datasets.parquet import Parquet
from muomni_datasets.text import TextFiles

fsspec = pytest.importorskip("fsspec", reason="needs fsspec")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[Any]:
    store = fsspec.filesystem("memory")
    yield store
    store.rm("/", recursive=True)
    store.pseudo_dirs[:] = [""]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two Parquet files, two tar shards as of WebDataset, and a text."""
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    for name, words in (("a", ["one", "two", "three"]), ("deep/b", ["four", "five"])):
        parquet.write_table(pyarrow.table({"text": words}), folder / f"{name}.parquet", row_group_size=2)
    for shard in range(2):
        with tarfile.open(folder / f"shard-{shard}.tar", "w") as archive:
            for number in range(3):
                picture = io.BytesIO()
                Image.fromarray(np.full((4, 4, 3), 40 * number + shard, np.uint8)).save(picture, "PNG")
                add(archive, f"{shard}{number}.png", picture.getvalue())
                add(archive, f"{shard}{number}.txt", f"picture {number} of {shard}".encode())
                add(archive, f"{shard}{number}.cls", str(number).encode())
    (folder / "story.txt").write_text("Once upon a time.\n\nThe end.\n")
    return folder


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture
def served(corpus: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of the corpus on a web server, and the requests that it got."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            asked.append(f"{self.command} {self.path}")

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(corpus))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def put(memory: Any, corpus: Path) -> None:
    for path in corpus.rglob("*.*"):
        memory.pipe(f"/bucket/{path.relative_to(corpus).as_posix()}", path.read_bytes())


def about(source: Any) -> list[tuple[Any, ...]]:
    """What the documents are, whatever file they come from."""
    found = []
    for one in source.documents():
        media = getattr(one, "media", None)
        content = b""
        if media is not None:
            with media.open() as file:
                content = file.read()
        found.append((one.text, one.key, getattr(one, "label", None), content))
    return found


SOURCES = [
    (Parquet, ParquetConfig, "", 5),
    (Parquet, ParquetConfig, "/a.parquet", 3),
    (Tar, TarConfig, "/shard-*.tar", 6),
    (Tar, TarConfig, "/shard-1.tar", 3),
    (TextFiles, TextConfig, "/story.txt", 2),
]


@pytest.mark.parametrize(("build", "config", "path", "count"), SOURCES)
def test_a_source_by_url_gives_what_local_files_give(
    build: Any, config: Any, path: str, count: int, corpus: Path, memory: Any
) -> None:
    put(memory, corpus)
    local = about(build(config(path=f"{corpus}{path}")))
    assert about(build(config(path=f"memory://bucket{path}"))) == local
    assert len(local) == count


@pytest.mark.parametrize(("build", "config", "path", "count"), SOURCES[1:])
def test_a_web_server_gives_what_local_files_give(
    build: Any, config: Any, path: str, count: int, corpus: Path, served: tuple[str, list[str]]
) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp")
    address, asked = served
    local = about(build(config(path=f"{corpus}{path}")))
    assert about(build(config(path=f"{address}{path}"))) == local
    fetched = [one for one in asked if one.startswith("GET") and not one.endswith("/")]
    assert about(build(config(path=f"{address}{path}"))) == local
    assert [one for one in asked if one.startswith("GET") and not one.endswith("/")] == fetched, "fetched once"
    assert len(local) == count


def test_a_file_that_changed_is_fetched_again_and_no_other(corpus: Path, memory: Any, cache: Path) -> None:
    put(memory, corpus)
    config = ParquetConfig(path="memory://bucket/", pattern="*")
    first = Parquet(config).files()
    states = [path.stat().st_ino for path in first]
    parquet.write_table(pyarrow.table({"text": ["six"]}), corpus / "deep" / "b.parquet")
    memory.pipe("/bucket/deep/b.parquet", (corpus / "deep" / "b.parquet").read_bytes())
    again = Parquet(config)
    assert [document.text for document in again.documents()] == ["one", "two", "three", "six"]
    assert again.files() == first
    assert [path.stat().st_ino == state for path, state in zip(first, states, strict=True)] == [True, False]
    assert all(cache in path.parents for path in first)
    assert again.left_out == {"with the ending .tar": 2, "with the ending .txt": 1}


def test_a_file_that_ends_early_is_an_error_and_not_kept(
    corpus: Path, memory: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(memory, corpus)
    monkeypatch.setattr(memory, "get_file", lambda _, target: Path(target).write_bytes(b"half"))
    with pytest.raises(MuomniError, match="ended after 4 of"):
        Parquet(ParquetConfig(path="memory://bucket/a.parquet")).files()
    assert not [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("memory://nowhere/", "names no .parquet file"),
        ("memory://bucket/none.parquet", "cannot be read"),
        ("nostore://bucket/a.parquet", "nostore"),
        ("http://127.0.0.1:9/a.parquet", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told_in_two_lines(path: str, told: str) -> None:
    with pytest.raises(RequestError) as error:
        Parquet(ParquetConfig(path=path)).files()
    assert path in error.value.what
    assert told in error.value.what
    assert error.value.fix
    assert "\n" not in error.value.what + error.value.fix


@pytest.mark.parametrize(("build", "config"), [(Folder, FolderConfig), (Manifest, ManifestConfig)])
def test_sources_that_name_other_files_refuse_urls(build: Any, config: Any) -> None:
    with pytest.raises(RequestError, match="is read from disk"):
        build(config(path="s3://bucket/pictures")).files()
