# ruff: noqa: E402
"""A bundle in the precision asked for: near, smaller, checked again later, and what cannot be lowered is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import numpy as np

from muomni_cli.api import MuomniError, RequestError
from muomni_cli.core.files import write_sealed_json
from muomni_cli.models.run_engine import RunEngine
from muomni_onnx import export as lowering
from muomni_onnx import precision
from muomni_onnx.bundle import open_bundle, sha256
from muomni_onnx.check import check
from muomni_onnx.export import export
from muomni_onnx.golden import absolute, relative
from muomni_onnx.graphs import Model
from muomni_onnx.precision import PrecisionPlan, choose
from muomni_onnx.runtime import OnnxModel

Made = tuple[Path, RunEngine]


@pytest.fixture(autouse=True)
def every_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are so small that none of their weights would be worth it."""
    monkeypatch.setattr(precision, "SMALL", 256)


@pytest.mark.parametrize("kind", ["int8", pytest.param("fp16", marks=pytest.mark.slow)])
def test_parts_have_the_precision_asked_for(made: Made, model: Model, tmp_path: Path, kind: str) -> None:
    root = tmp_path / "low"
    report = export(model, root, precision=choose([kind, "image=fp32"]), notify=print)
    manifest = open_bundle(root).manifest
    assert manifest["precision"] == kind
    for line in report.lines:
        entry, whole = open_bundle(root).graph(line.part, line.graph), line.part == "image"
        assert entry["precision"] == line.precision == ("fp32" if whole else kind)
        assert entry["error"] == line.parity.error <= line.parity.tolerance
        assert line.size == (root / entry["file"]).stat().st_size
        full = (made[0] / entry["file"]).stat().st_size
        assert line.size == full if whole else line.size < full
    assert not list(root.rglob("*.lower"))
    assert all(one.error <= one.tolerance for one in check(root))
    tokens = answer(root)
    assert len(tokens) == 6
    assert kind == "int8" or tokens == answer(made[0])


@pytest.fixture
def thinker(model: Model) -> Model:
    """The model's Thinker alone."""
    return replace(model, parts=[part for part in model.parts if part.name == "thinker"])


def answer(root: Path) -> list[int]:
    """Six greedy tokens; caches go round."""
    backend = OnnxModel(open_bundle(root), threads=1).backend()
    state, logits = backend.begin([[1, 5, 6]], 9)
    tokens = [int(logits[0].argmax())]
    while len(tokens) < 6:
        tokens.append(int(backend.step(state, np.array(tokens[-1:]))[0].argmax()))
    return tokens


def test_a_graph_that_would_be_too_far_off_is_left_and_says_so(
    thinker: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lowering.ALLOWED, "int8", 1e-9)
    report = export(thinker, tmp_path / "low", precision=PrecisionPlan("int8"), notify=print)
    assert {line.precision for line in report.lines} == {"fp32"}
    assert all("int8 would be" in line.kept[0].why for line in report.lines)
    assert all(whole.equal == whole.asked for whole in report.wholes)


def test_for_the_web_8_bits_that_would_be_too_far_off_are_16(
    thinker: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    for allowed in (lowering.ALLOWED["web"], 1e-9):
        monkeypatch.setitem(lowering.ALLOWED, "web", allowed)
        root = tmp_path / str(allowed)
        report = export(thinker, root, precision=PrecisionPlan("web"), notify=print)
        assert {line.precision for line in report.lines} == {"web"}
        assert all(one.error <= one.tolerance for one in check(root))
        sizes.append(sum(line.size for line in report.lines))
    assert sizes[0] < sizes[1]


def test_a_lowered_graph_that_gives_something_else_fails_the_check(thinker: Model, tmp_path: Path) -> None:
    root = tmp_path / "low"
    export(thinker, root, precision=PrecisionPlan("int8"), notify=print)
    saved = dict(np.load(root / "reference.npz"))
    name = next(name for name in saved if name.startswith("thinker/thinker/0/out/logits"))
    saved[name] = saved[name] * np.float32(1.2)
    np.savez(root / "reference.npz", **saved)
    manifest = json.loads((root / "muomni.json").read_text())
    manifest["files"]["reference.npz"] = sha256(root / "reference.npz")
    write_sealed_json(root / "muomni.json", manifest)
    with pytest.raises(MuomniError, match=r"thinker: thinker is .* from what it gave"):
        check(root)


def test_the_words_of_the_command() -> None:
    assert choose([]) == PrecisionPlan()
    chosen = choose(["talker=fp32", "int8", "vocoder=fp16", "talker=int4"])
    assert [chosen.of(part) for part in ("thinker", "talker", "vocoder")] == ["int8", "int4", "fp16"]
    for wrong in ("int2", "=int8", "talker=", "int8=talker"):
        with pytest.raises(RequestError, match="is not a precision"):
            choose([wrong])


def test_a_part_that_is_not_there_is_named(model: Model, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="'tenor'"):
        export(model, tmp_path / "low", precision=choose(["tenor=int8"]), notify=print)
    assert not list(tmp_path.iterdir())


def test_distances() -> None:
    one = np.array([3.0, 4.0], np.float32)
    assert relative(one, one + np.float32(0.3)) == pytest.approx(0.3 * 2**0.5 / 5, rel=1e-5)
    assert relative(one, one.astype(np.float16)) == 0
    assert relative(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.25
    assert relative(one[:0], one[:0]) == absolute(one[:0], one[:0]) == 0
    for distance in (absolute, relative):
        assert distance(one, one[:1]) == distance(one, one * np.float32("nan")) == float("inf")
    assert relative(0 * one, one) == float("inf")
    assert relative(0 * one, 0 * one) == 0
    assert absolute(one, one.astype(np.float64)) == float("inf")
