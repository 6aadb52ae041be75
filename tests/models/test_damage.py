"""Damaged files of a run and of the cache: named, with the way back, or without any effect."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from muomni_cli.core.checksums import COMMENT, is_whole, sealed, toml_text
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import cached_folder, read_json, write_sealed_json
from muomni_cli.recipe.load import load_recipe
from muomni_cli.runs.checkpoint import read_checkpoint, write_checkpoint
from muomni_cli.runs.digests import write_digests
from muomni_cli.runs.run import RunFolder, read_header

CHANGES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change of a file: bits, a block, its end, a piece cut out, a piece put in."""
    share = draw(st.floats(0, 1))
    kind = draw(st.sampled_from(["flip", "block", "zeros", "cut", "drop", "insert", "append"]))
    some = draw(st.binary(min_size=1, max_size=64))

    def change(content: bytes) -> bytes:
        at = min(int(share * len(content)), len(content) - 1)
        return {
            "flip": content[:at] + bytes([content[at] ^ (some[0] or 1)]) + content[at + 1 :],
            "block": content[:at] + some + content[at + len(some) :],
            "zeros": content[:at] + bytes(len(content[at : at + 512])) + content[at + 512 :],
            "cut": content[:at],
            "drop": content[:at] + content[at + len(some) :],
            "insert": content[:at] + some + content[at:],
            "append": content + some,
        }[kind]

    return change


def refused_or_same(read: Callable[[], Any], expected: Any, path: Path) -> None:
    refusal, found = None, expected
    try:
        found = read()
    except RequestError as error:
        refusal = error
    assert found == expected
    if refusal is not None:
        assert path.name in refusal.what
        assert refusal.fix
        assert "\n" not in refusal.what.replace("\n  ", "") + refusal.fix  # a recipe's mistakes have a line each


def as_data(path: Path) -> Any:
    checkpoint = read_checkpoint(path)
    return dict(checkpoint.header), {name: tensor.tolist() for name, tensor in checkpoint.tensors.items()}


@CHANGES
@given(change=damages())
def test_a_damaged_checkpoint_is_named_or_gives_the_same(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "run" / "codec" / "last.safetensors"
    tensors = {"a": torch.arange(300, dtype=torch.float32), "b": torch.eye(9)}
    write_checkpoint(path, {"step": 7, "note": "crc32:12345678"}, {"model": tensors})
    expected = as_data(path)
    path.write_bytes(change(path.read_bytes()))
    refused_or_same(lambda: as_data(path), expected, path)


@CHANGES
@given(change=damages())
def test_a_damaged_description_of_a_run_is_named_or_gives_the_same(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.record("codec", {"status": "finished", "step": 9}, {"kind": "codec", "use": "rvq", "note": "crc32:12345678"})
    expected = run.model()
    run.model_path.write_bytes(change(run.model_path.read_bytes()))
    refused_or_same(run.model, expected, run.model_path)
    run.model_path.unlink()


@CHANGES
@given(change=damages())
def test_a_damaged_recipe_of_a_run_is_named_or_gives_the_same(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    text = 'name = "small"\nseed = 12\n\n[vocoder]\nuse = "griffin-lim"\niterations = 16\n'
    path.write_bytes(sealed(f"{COMMENT}{text}".encode()))
    assert toml_text(path, path.read_bytes()) == text

    def read() -> Any:
        recipe = load_recipe(str(path))
        assert recipe.vocoder is not None
        return recipe.name, recipe.seed, recipe.vocoder.config

    expected = read()
    path.write_bytes(change(path.read_bytes()))
    refused_or_same(read, expected, path)


@CHANGES
@given(change=damages(), name=st.sampled_from(["a.bin", "sub/b.json", "index.json"]))
def test_damaged_prepared_data_are_named_or_give_the_same(
    change: Callable[[bytes], bytes], name: str, tmp_path: Path
) -> None:
    folder = tmp_path / f"cache-{time.monotonic_ns()}"
    made: list[Path] = []

    def fill(partial: Path) -> Any:
        made.append(partial)
        (partial / "sub").mkdir()
        (partial / "a.bin").write_bytes(bytes(range(256)))
        (partial / "sub" / "b.json").write_text(json.dumps({"shapes": [[1, 2], [3, 4]]}))
        return {"rows": [1, 2, 3]}

    def read() -> Any:
        found = cached_folder(folder, "index.json", "the data", fill)
        return found, (folder / "a.bin").read_bytes(), (folder / "sub/b.json").read_text()

    expected = read()
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(change(before))
    refused_or_same(read, expected, folder / name)
    (folder / name).unlink()
    if name == "index.json":  # without its index it is made again
        assert read() == expected
        assert len(made) == 2
    else:
        with pytest.raises(RequestError, match=r"cannot read|has lost"):
            read()


def test_the_other_checkpoint_is_the_way_back(tmp_path: Path) -> None:
    best, last = (tmp_path / "codec" / f"{name}.safetensors" for name in ("best", "last"))
    for path in (best, last):
        write_checkpoint(path, {"step": 1}, {"model": {"a": torch.zeros(3)}})
    last.write_bytes(last.read_bytes()[:-1] + b"\1")
    with pytest.raises(RequestError, match="does not match its checksum") as caught:
        read_checkpoint(last)
    assert str(best) in caught.value.fix
    assert read_header(last)["step"] == 1  # of which only the header is read


def test_a_file_without_checksums_is_taken_where_digests_cover_it(tmp_path: Path) -> None:
    """As the model that ships, which was written before there were any."""
    path, run = tmp_path / "run" / "codec" / "best.safetensors", RunFolder(tmp_path / "run")
    path.parent.mkdir(parents=True)
    save_file({"model.a": torch.ones(4)}, path, {"muomni": json.dumps({"format": 1, "step": 3})})
    run.model_path.write_text(json.dumps({"format": 1, "stages": {"codec": {"status": "finished"}}}))
    for read in (lambda: read_checkpoint(path), run.model):
        with pytest.raises(RequestError, match="has no checksum"):
            read()
    write_digests(run.root)
    assert read_checkpoint(path).header["step"] == 3
    assert run.status("codec") == "finished"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RequestError, match="has changed since it was packed"):
        read_checkpoint(path)


def test_training_into_a_packed_run_makes_it_a_run_of_its_own(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.record("codec", {"status": "finished"})
    write_digests(run.root)
    run.record("codec", {"status": "unfinished"})
    assert not (run.root / "digests.json").exists()
    assert run.status("codec") == "unfinished"


def test_a_changed_tokenizer_is_named(whole: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(whole.run, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    run.tokenizer()
    file = next(run.stage("tokenizer").iterdir())
    content = file.read_bytes()
    for changed in (content[:-1], content.replace(b"a", b"b", 1), b""):
        file.write_bytes(changed)
        with pytest.raises(RequestError, match=file.name):
            run.tokenizer()
    file.write_bytes(content)
    (file.parent / "more.json").write_text("{}")
    with pytest.raises(RequestError, match=r"more\.json"):
        run.tokenizer()


@CHANGES
@given(content=st.binary(max_size=300))
def test_a_seal_does_not_depend_on_what_is_sealed(content: bytes) -> None:
    whole = sealed(b"crc32:00000000" + content)
    assert is_whole(whole)
    assert len(whole) == 14 + len(content)


def test_a_sealed_object_keeps_its_keys(tmp_path: Path) -> None:
    content = {"format": 1, "checksum": "crc32:11111111", "note": "é\u2028"}
    write_sealed_json(tmp_path / "a.json", content)
    held = read_json(tmp_path / "a.json")
    assert {**held, "checksum": ""} == {**content, "checksum": ""}
    assert is_whole((tmp_path / "a.json").read_bytes())


@pytest.mark.skipif(os.name != "posix", reason="the clock of another system")
def test_a_checkpoint_of_40_megabytes_is_checked_in_a_fraction_of_its_reading(tmp_path: Path) -> None:
    from muomni_cli.runs.digests import require_tensors

    path = tmp_path / "codec" / "last.safetensors"
    write_checkpoint(path, {"step": 1}, {"model": {"a": torch.randn(10_000_000)}})
    header = read_header(path)
    begun = time.process_time()
    require_tensors(path, header)
    assert time.process_time() - begun < 0.5
