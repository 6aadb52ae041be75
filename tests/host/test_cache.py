"""``muomni cache``: what it lists and what it removes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from muomni_cli import app
from muomni_cli.core.files import cache_folder, cached_folder
from muomni_cli.core.partial import partial_folder


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        app.main(["cache", *words])
    return int(end.value.code or 0)


def prepared(kind: str, name: str, days: float = 0) -> Path:
    """A finished folder of that age, as trainings make it."""
    folder = cache_folder() / kind / name

    def fill(partial: Path) -> dict[str, int]:
        (partial / "data.bin").write_bytes(bytes(1000))
        return {"items": 1}

    cached_folder(folder, "index.json", "the data", fill)
    for path in folder.iterdir():
        os.utime(path, (time.time() - days * 86_400,) * 2)
    return folder


def test_an_empty_cache(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []
    assert run("clean") == 0
    assert "removed 0 folders" in capsys.readouterr().err


def test_every_folder_is_listed_with_its_size_and_age(capsys: pytest.CaptureFixture[str]) -> None:
    held = sum(path.stat().st_size for path in prepared("shards", "a", days=2).iterdir())
    prepared("speech", "b")
    assert run("list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["kind"], first["bytes"], first["finished"]) == ("shards", held, True)
    assert first["age"] == pytest.approx(2 * 86_400, rel=0.01)
    assert second["path"].endswith("speech/b")


def test_what_is_newer_stays(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = prepared("shards", "a", days=9), prepared("shards", "b", days=1)
    assert run("clean", "--older", "7", "--dry-run") == 0
    assert old.exists()
    assert "would remove 1 folder," in capsys.readouterr().err
    assert run("clean", "--older", "7") == 0
    assert not old.exists()
    assert new.exists()


def test_a_folder_that_a_command_is_writing_stays() -> None:
    finished, left = prepared("shards", "a"), cache_folder() / "shards" / ".d-x2"
    left.mkdir()
    with partial_folder(cache_folder() / "shards" / "c") as writing:
        assert run("clean", "--unfinished") == 0
        assert (writing.exists(), left.exists(), finished.exists()) == (True, False, True)
        assert run("clean") == 0
        assert (writing.exists(), finished.exists()) == (True, False)


def test_what_is_no_prepared_data_stays(tmp_path: Path) -> None:
    """A file of somebody else in the cache folder, and whatever a link points to."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept.txt").write_text("kept")
    (cache_folder() / "shards").mkdir(parents=True)
    (cache_folder() / "notes.txt").write_text("kept")
    (cache_folder() / "shards" / "link").symlink_to(elsewhere)
    assert run("clean") == 0
    assert (elsewhere / "kept.txt").exists()
    assert (cache_folder() / "notes.txt").exists()
