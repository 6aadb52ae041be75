# ruff: noqa: E402
"""``muomni export --web``: the folder is whole, and what cannot become a site is refused in two lines."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import numpy as np
import onnx

from muomni_cli import app
from muomni_cli.api import RequestError
from muomni_cli.core.checksums import sha256
from muomni_cli.core.files import write_sealed_json
from muomni_onnx.bundle import open_bundle
from muomni_onnx.sessions import GraphSession
from muomni_onnx.web_form import in_web_form
from muomni_web import onnxruntime_files
from muomni_web.site import require_runnable

ROOT = Path(__file__).resolve().parents[2]
NANO = ROOT / "plugins" / "muomni_nano" / "bundle"
WEB = ROOT / "exports" / "muomni_web"


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with small files in place of onnxruntime's, and the digests of those."""
    folder = tmp_path / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in onnxruntime_files.DIGESTS:
        (folder / name).write_text(f"the content of {name}", encoding="utf-8")
    digests = {name: sha256(folder / name) for name in onnxruntime_files.DIGESTS}
    monkeypatch.setattr(onnxruntime_files, "DIGESTS", digests)
    monkeypatch.setenv(onnxruntime_files.FOLDER, str(folder.parent))
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of nano that may be damaged."""
    return Path(shutil.copytree(NANO, tmp_path / "copy"))


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        app.main(["export", *words])
    return int(left.value.code or 0)


def changed(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((bundle / "muomni.json").read_text(encoding="utf-8"))
    change(manifest)
    write_sealed_json(bundle / "muomni.json", manifest)


@pytest.mark.usefixtures("runtime")
def test_the_site_holds_the_page_the_runtime_and_the_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    assert run("--web", "-m", "nano", "-o", str(site)) == 0, capsys.readouterr().err
    manifest = open_bundle(site / "bundle").manifest
    there = {path.relative_to(site / "bundle").as_posix() for path in (site / "bundle").rglob("*") if path.is_file()}
    assert manifest["files"].keys() - there == {"reference.npz"}
    assert there - manifest["files"].keys() == {"muomni.json"}
    assert all(sha256(site / "bundle" / name) == manifest["files"][name] for name in there - {"muomni.json"})
    assert manifest["precision"] == manifest["parts"]["thinker"]["graphs"]["thinker"]["precision"] == "web"
    assert sum((site / "bundle" / name).stat().st_size for name in there) <= 24e6
    listed = json.loads((site / "files.json").read_text(encoding="utf-8"))
    files = {path.relative_to(site).as_posix(): path.stat().st_size for path in site.rglob("*") if path.is_file()}
    assert listed["files"] == {name: size for name, size in files.items() if name not in ("sw.js", "files.json")}
    assert {"index.html", "page.js", "worker.js", "muomni-web.js", "ort/ort-wasm-simd-threaded.wasm"} <= files.keys()


def test_a_changed_file_is_another_version(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = []
    for place in ("one", "two", "three"):
        if place == "three":
            (runtime / "ort.wasm.min.mjs").write_text("changed", encoding="utf-8")
            digests = onnxruntime_files.DIGESTS | {"ort.wasm.min.mjs": sha256(runtime / "ort.wasm.min.mjs")}
            monkeypatch.setattr(onnxruntime_files, "DIGESTS", digests)
        assert run("--web", "-m", "nano", "-o", str(tmp_path / place)) == 0
        versions.append(json.loads((tmp_path / place / "files.json").read_text(encoding="utf-8"))["version"])
    assert versions[0] == versions[1] != versions[2]


def test_the_web_form_has_the_same_weights_and_outputs(tmp_path: Path) -> None:
    root = in_web_form(open_bundle(NANO), tmp_path / "web")
    assert open_bundle(root).verify() is None
    for graph in ("thinker/thinker.onnx", "talker/step.onnx"):
        assert "DequantizeLinear" in {node.op_type for node in onnx.load(NANO / graph).graph.node}
        assert "DequantizeLinear" not in {node.op_type for node in onnx.load(root / graph).graph.node}
    rng = np.random.default_rng(0)
    feeds: dict[str, Any] = {"inputs_embeds": rng.standard_normal((1, 5, 256), np.float32)}
    for name, axes in open_bundle(root).graph("thinker", "thinker")["inputs"].items():
        if name.startswith("past"):
            feeds[name] = np.zeros((1, axes[1], 0, axes[3]), np.float32)
    one, two = (GraphSession(path / "thinker" / "thinker.onnx", 1)(feeds) for path in (NANO, root))
    apart = np.linalg.norm(one["logits"] - two["logits"]) / np.linalg.norm(one["logits"])
    assert apart < 0.02


@pytest.mark.usefixtures("runtime")
def test_a_damaged_bundle_is_refused_in_two_lines(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / "talker" / "step.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run("--web", "-m", str(bundle), "-o", str(tmp_path / "site")) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2
    assert not (tmp_path / "site").exists()


@pytest.mark.usefixtures("runtime")
def test_a_bundle_has_the_precision_that_it_has(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--web", "-m", str(bundle), "-o", str(tmp_path / "site"), "--precision", "fp32") == 2
    assert "another precision" in capsys.readouterr().err
    assert run("--web", "-m", str(bundle), "-o", str(tmp_path / "site"), "--precision", "int4") == 2
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").touch()
    assert run("--web", "-m", str(bundle), "-o", str(tmp_path / "site")) == 2
    assert "is there already" in capsys.readouterr().err
    assert run("--web", "-m", str(bundle), "-o", str(tmp_path / "site"), "--force") == 2
    assert "is not an export" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["mine.txt"]


@pytest.mark.usefixtures("runtime")
def test_an_earlier_site_is_replaced_when_it_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    words = ("--web", "-m", str(bundle), "-o", str(tmp_path / "site"))
    assert run(*words) == 0
    (tmp_path / "site" / "old.txt").touch()
    assert run(*words) == 2
    assert (tmp_path / "site" / "old.txt").exists()
    assert run(*words, "--force", "--precision", "web") == 0
    assert not (tmp_path / "site" / "old.txt").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda manifest: manifest["parts"]["vocoder"].update(use="other"), "cannot run the vocoder 'other'"),
        (lambda manifest: manifest["chat"].update(template="own"), "Jinja"),
        (lambda manifest: manifest["chat"].update(form={"choices": ["yes", "no"]}), "form"),
    ],
)
def test_what_the_site_has_no_code_for_is_refused(change: Callable[[Any], None], told: str) -> None:
    manifest = json.loads((NANO / "muomni.json").read_text(encoding="utf-8"))
    require_runnable(manifest)
    change(manifest)
    with pytest.raises(RequestError, match=told):
        require_runnable(manifest)


def test_files_of_another_runtime_are_refused(runtime: Path) -> None:
    assert [path.parent for path in onnxruntime_files.onnxruntime_files(print)] == [runtime] * 3
    (runtime / "ort.wasm.min.mjs").write_text("another", encoding="utf-8")
    with pytest.raises(RequestError, match=r"is not that of onnxruntime-web"):
        onnxruntime_files.onnxruntime_files(print)
    (runtime / "ort.wasm.min.mjs").unlink()
    with pytest.raises(RequestError, match=r"has no ort\.wasm\.min\.mjs"):
        onnxruntime_files.onnxruntime_files(print)


def test_without_npm_it_is_said_what_to_do(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(onnxruntime_files.FOLDER)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(runtime))
    assert run("--web", "-m", "nano", "-o", str(tmp_path / "site")) == 1
    told = capsys.readouterr().err.strip().splitlines()[-2:]
    assert "npm is not installed" in told[0]
    assert onnxruntime_files.FOLDER in told[1]


def test_what_npm_brings_is_kept(tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    archive = programs / "brought.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        for path in runtime.iterdir():
            packed.add(path, f"package/dist/{path.name}")
    program = programs / "npm"
    program.write_text(f"#!/bin/sh\necho x >> {programs}/calls\ncp {archive} .\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.delenv(onnxruntime_files.FOLDER)
    monkeypatch.setenv("MUOMNI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    for _ in range(2):
        names = [path.name for path in onnxruntime_files.onnxruntime_files(print)]
        assert names == list(onnxruntime_files.DIGESTS)
    assert (programs / "calls").read_text(encoding="utf-8") == "x\n"


def test_nothing_is_fetched_from_elsewhere() -> None:
    for path in (WEB / "static").iterdir():
        found = set(re.findall(r"https?://[\w.-]+", path.read_text(encoding="utf-8")))
        assert found <= {"http://www.w3.org", "https://"}, path.name
    lock = (WEB / "npm" / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in lock
    assert json.loads(lock)["packages"]["node_modules/onnxruntime-web"]["version"] == onnxruntime_files.VERSION
