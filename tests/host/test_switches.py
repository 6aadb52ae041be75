"""What is switched off stays off, and the file that says so is never half written."""

from __future__ import annotations

from pathlib import Path

import pytest

from muomni_cli.core import files as folders
from muomni_cli.core.errors import MuomniError, RequestError
from muomni_cli.registry.loading import disabled_plugins, set_enabled


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MUOMNI_CONFIG", str(tmp_path / "deep" / "config"))
    return tmp_path / "deep" / "config"


def test_nothing_is_off_at_first(config: Path) -> None:
    assert disabled_plugins() == frozenset()
    assert not config.exists()


def test_switching_is_kept_and_says_whether_it_changed_anything(config: Path) -> None:
    assert set_enabled("a", on=False)
    assert set_enabled("b", on=False)
    assert not set_enabled("a", on=False)
    assert disabled_plugins() == {"a", "b"}
    assert set_enabled("a", on=True)
    assert not set_enabled("a", on=True)
    assert disabled_plugins() == {"b"}
    assert [path.name for path in config.iterdir()] == ["plugins.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"disabled": "a"}', '{"disabled": [1]}', "\x00"])
def test_a_spoilt_file_is_named(config: Path, text: str) -> None:
    config.mkdir(parents=True)
    (config / "plugins.json").write_text(text)
    with pytest.raises(RequestError, match=r"plugins\.json"):
        disabled_plugins()


def test_a_failed_write_leaves_the_old_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_enabled("a", on=False)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(MuomniError, match="No space"):
        set_enabled("b", on=False)
    assert disabled_plugins() == {"a"}
    assert [path.name for path in config.iterdir()] == ["plugins.json"]


@pytest.mark.parametrize("name", ["config", "cache"])
def test_folders_follow_the_environment(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = {"config": folders.config_folder, "cache": folders.cache_folder}[name]
    own, base = f"MUOMNI_{name.upper()}", f"XDG_{name.upper()}_HOME"
    monkeypatch.delenv(own, raising=False)
    monkeypatch.delenv(base, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / f".{name}" / "muomni"
    monkeypatch.setenv(base, str(tmp_path / "base"))
    assert folder() == tmp_path / "base" / "muomni"
    monkeypatch.setenv(own, "~/own")
    assert folder() == tmp_path / "own"
