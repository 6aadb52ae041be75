"""Manifests of bundles from strangers: every path stays inside, every file is listed, and a bad one is two lines."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import MuomniError, load
from muomni_cli.core.checksums import sha256
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import write_sealed_json
from muomni_onnx.bundle import MANIFEST, open_bundle

if TYPE_CHECKING:
    from tests.tiny_model import Whole


@pytest.fixture
def bundle(whole: Whole, tmp_path: Path) -> Path:
    shutil.copytree(whole.bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def manifest_of(bundle: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    return content


def rewrite(bundle: Path, manifest: Any) -> None:
    """As somebody would who knows how manifests are sealed."""
    write_sealed_json(bundle / MANIFEST, manifest)


def use(bundle: Path) -> None:
    """All that a user does with a model."""
    with load(bundle, device="cpu", threads=1) as model:
        model.chat("hello", max_tokens=1)
        model.speak("a")


def refusal(bundle: Path) -> RequestError:
    with pytest.raises(RequestError) as caught:
        use(bundle)
    error = caught.value
    assert "\n" not in error.what + error.fix
    assert error.fix
    return error


OUTSIDE = [
    "../secret.onnx", "/etc/passwd", "thinker/../../secret.onnx", "..", ".", "", "thinker/", "./thinker/embed.onnx",
    "C:/secret.onnx", "thinker\\embed.onnx", "thinker//embed.onnx", "a\0b",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("place", ["graph", "tokenizer", "files"])
def test_a_path_that_leads_out_is_refused(path: str, place: str, bundle: Path) -> None:
    (bundle.parent / "secret.onnx").write_bytes((bundle / "thinker/embed.onnx").read_bytes())
    manifest = manifest_of(bundle)
    digest = sha256(bundle / "thinker/embed.onnx")
    if place == "graph":
        manifest["parts"]["thinker"]["graphs"]["embed"]["file"] = path
    elif place == "tokenizer":
        manifest["tokenizer"]["weights"] = path
    if place in ("graph", "files"):
        manifest["files"][path] = digest
    rewrite(bundle, manifest)
    assert "not a path inside the bundle" in refusal(bundle).what


@pytest.mark.parametrize("name", ["thinker/embed.onnx", "tokenizer/tokenizer.json", "codec/decoder.onnx"])
def test_a_file_that_is_not_listed_is_not_opened(name: str, bundle: Path) -> None:
    manifest = manifest_of(bundle)
    del manifest["files"][name]
    rewrite(bundle, manifest)
    assert "no digest" in refusal(bundle).what


def test_a_file_beside_the_tokenizer_is_not_opened(bundle: Path) -> None:
    (bundle / "tokenizer" / "merges.txt").write_text("a b")
    assert "merges.txt" in refusal(bundle).what


@pytest.mark.parametrize("name", ["thinker/embed.onnx", "tokenizer/tokenizer.json", "thinker", "tokenizer"])
def test_a_link_out_of_the_bundle_is_refused_and_one_within_is_followed(name: str, bundle: Path) -> None:
    path = bundle / name
    inside, outside = path.with_name(f"{path.name}.other"), bundle.parent / path.name
    path.rename(outside)
    path.symlink_to(outside)
    assert "leads out of the bundle" in refusal(bundle).what
    path.unlink()
    if outside.is_dir():
        return
    outside.rename(inside)
    path.symlink_to(inside.name)
    if name.startswith("tokenizer"):
        assert inside.name in refusal(bundle).what  # which is not listed
    else:
        use(bundle)


def test_a_manifest_that_was_changed_is_refused(bundle: Path) -> None:
    whole = (bundle / MANIFEST).read_bytes()
    for old, new in ((b'"ctx_len": 192', b'"ctx_len": 193'), (b'"checksum"', b'"checksun"'), (b"crc32:", b"crc31:")):
        assert whole.count(old) >= 1
        (bundle / MANIFEST).write_bytes(whole.replace(old, new, 1))
        if old != b'"checksum"':
            assert MANIFEST in refusal(bundle).what
    (bundle / MANIFEST).write_bytes(whole)
    use(bundle)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))


JUNK = st.sampled_from([None, True, -1, 0, 1e300, 10**30, "", "x", "../x", [], [[]], {}, {"": {}}, [None]])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_other_value_anywhere_is_two_lines_or_works(data: st.DataObject, bundle: Path) -> None:
    manifest = manifest_of(bundle)
    original = json.dumps(manifest)
    part = data.draw(st.sampled_from(["thinker", "codec", "talker", "vocoder"]))
    places = [path for path in leaves(manifest) if path and (path[0] != "parts" or path[1:2] == (part,))]
    *above, key = data.draw(st.sampled_from(places))
    holder = manifest
    for step in above:
        holder = holder[step]
    holder[key] = data.draw(JUNK)
    rewrite(bundle, manifest)
    refusal = None
    try:
        use(bundle)
    except MuomniError as error:
        refusal = error
    finally:
        (bundle / MANIFEST).write_text(original)
    assert refusal is None or "\n" not in refusal.what + refusal.fix, (above, key)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{" * 5000, b"[" * 100_000, b'{"format": []}']
)
def test_what_is_no_manifest_is_two_lines(content: bytes, bundle: Path) -> None:
    (bundle / MANIFEST).write_bytes(content)
    refusal(bundle)


def test_many_changes_of_bytes_are_refused(bundle: Path) -> None:
    whole = (bundle / MANIFEST).read_bytes()
    change: Callable[[int], bytes] = lambda at: whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :]  # noqa: E731
    for at in range(0, len(whole), 97):
        (bundle / MANIFEST).write_bytes(change(at))
        with pytest.raises(RequestError):
            open_bundle(bundle)
    assert os.path.getsize(bundle / MANIFEST) == len(whole)
