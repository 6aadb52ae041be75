# ruff: noqa: E402
"""Smaller graphs do nearly what the full ones do, and say what of them stayed full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from muomni_onnx.precision import ADDED, NEAREST, NO_GAIN, SPECTRUM, Precision, convert_precision
from muomni_onnx.quantize import block_of, in_blocks, in_columns
from muomni_onnx.sessions import GraphSession

FEW: dict[Precision, float] = {"fp16": 1e-3, "int8": 0.02, "int4": 0.15, "web": 0.02}
"""What rounding alone does to a product of normal values, relative."""


def written(path: Path, text: str, **weights: NDArray[Any]) -> Path:
    """A graph from its text, with constants."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 23]> {text}')
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def relative(path: Path, other: Path, feeds: dict[str, NDArray[Any]]) -> dict[str, float]:
    """How far the outputs of the second graph are from those of the first; its inputs are of its own kind."""
    one, two = GraphSession(path, 1)(feeds), GraphSession(other, 1)(as_taken(other, feeds))
    assert {name: array.shape for name, array in one.items()} == {name: array.shape for name, array in two.items()}
    return {
        name: float(np.linalg.norm(array - two[name].astype(np.float64)) / np.linalg.norm(array))
        for name, array in one.items()
    }


def as_taken(path: Path, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    kinds = {one.name: one.type.tensor_type.elem_type for one in onnx.load(path).graph.input}
    return {name: array.astype(onnx.helper.tensor_dtype_to_np_dtype(kinds[name])) for name, array in feeds.items()}


def operators(path: Path) -> set[str]:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [entry.version for entry in model.opset_import] == [23]
    return {node.op_type for node in model.graph.node}


MIXED = """m (int64[batch, time] ids, float[batch, time, 96] more) => (float[batch, time, 100] y) {
  looked = Gather<axis = 0>(table, ids)
  sum = Add(looked, more)
  one = MatMul(sum, matrix)
  turned = Transpose<perm = [0, 2, 1]>(one)
  kernel = Unsqueeze(flat, axis)
  wide = Unsqueeze(turned, axis)
  mixed = Conv<pads = [1, 0, 1, 0]>(wide, kernel)
  back = Squeeze(mixed, axis)
  rows = Transpose<perm = [0, 2, 1]>(back)
  y = MatMul(rows, head)
}"""


def mixed(path: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    """A table, matrices of which one has a number of rows that no block divides, and a convolution."""
    weights = {
        "table": normal(300, 96), "matrix": normal(96, 80), "flat": normal(90, 80, 3), "axis": np.array([3]),
        "head": normal(90, 100),
    }  # fmt: skip
    ids = np.random.default_rng(1).integers(0, 300, (2, 7))
    return written(path, MIXED, **weights), {"ids": ids, "more": normal(2, 7, 96, seed=1)}


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4", "web"])
def test_a_lowered_graph_is_smaller_and_near(tmp_path: Path, precision: Precision) -> None:
    source, feeds = mixed(tmp_path / "full.onnx")
    lowered = convert_precision(source, tmp_path / "low.onnx", precision, {})
    assert lowered.precision == precision
    share = {"fp16": 0.55, "int8": 0.35, "int4": 0.35, "web": 0.35}[precision]
    assert lowered.size == (tmp_path / "low.onnx").stat().st_size < share * source.stat().st_size
    error = relative(source, tmp_path / "low.onnx", feeds)["y"]
    assert FEW[precision] / 100 < error < FEW[precision]
    operators(tmp_path / "low.onnx")


STEP = """m (float[batch, time, 64] x, float[batch, 1, past, 64] past_key)
  => (float[batch, time, 80] y, float[batch, 1, now, 64] present_key) {
  one = MatMul(x, matrix)
  head = Unsqueeze(one, axis)
  present_key = Concat<axis = 2>(past_key, head)
  total = ReduceSum<keepdims = 0>(present_key, axes)
  both = Add(one, total)
  y = MatMul(both, last)
}"""
CACHE = {"past_key": "present_key"}


def step(path: Path) -> tuple[Path, dict[str, NDArray[Any]]]:
    weights = {"matrix": normal(64, 64), "last": normal(64, 80), "axis": np.array([1]), "axes": np.array([1, 2])}
    feeds = {"x": normal(1, 1, 64, seed=1), "past_key": normal(1, 1, 5, 64, seed=2)}
    return written(path, STEP, **weights), feeds


def test_a_graph_whose_cache_grows_reads_blocks_and_others_multiply_whole_numbers(tmp_path: Path) -> None:
    source, feeds = step(tmp_path / "step.onnx")
    convert_precision(source, tmp_path / "low.onnx", "int8", CACHE)
    assert "DequantizeLinear" in operators(tmp_path / "low.onnx")
    assert max(relative(source, tmp_path / "low.onnx", feeds).values()) < FEW["int8"]
    convert_precision(mixed(tmp_path / "full.onnx")[0], tmp_path / "many.onnx", "int8", {})
    assert "MatMulInteger" in operators(tmp_path / "many.onnx")


def test_for_the_web_matrices_are_scaled_from_constants_alone_so_that_a_session_does_it_once(tmp_path: Path) -> None:
    source, feeds = mixed(tmp_path / "full.onnx")
    convert_precision(source, tmp_path / "low.onnx", "web", {})
    assert not {"DequantizeLinear", "MatMulInteger", "DynamicQuantizeLinear"} & operators(tmp_path / "low.onnx")
    graph = onnx.load(tmp_path / "low.onnx").graph
    constant = {one.name for one in graph.initializer}
    for node in graph.node:
        if node.op_type in ("Cast", "Mul", "Reshape") and constant.issuperset(node.input):
            constant.update(node.output)
    products = [node for node in graph.node if node.op_type in ("MatMul", "Conv")]
    assert len(products) == 3
    assert all(node.input[1] in constant for node in products)
    assert relative(source, tmp_path / "low.onnx", feeds)["y"] < FEW["web"]


def test_for_the_web_weights_may_be_stored_in_16_bits(tmp_path: Path) -> None:
    source, feeds = mixed(tmp_path / "full.onnx")
    lowered = convert_precision(source, tmp_path / "low.onnx", "web", {}, halves=True)
    assert lowered.precision == "web"
    assert lowered.size < 0.55 * source.stat().st_size
    assert relative(source, tmp_path / "low.onnx", feeds)["y"] < FEW["fp16"]
    graph = onnx.load(tmp_path / "low.onnx").graph
    assert all(one.type.tensor_type.elem_type == 1 for one in graph.output)
    operators(tmp_path / "low.onnx")


def test_what_makes_an_output_keeps_8_bits_among_4(tmp_path: Path) -> None:
    convert_precision(step(tmp_path / "step.onnx")[0], tmp_path / "low.onnx", "int4", CACHE)
    kinds = {one.name: one.data_type for one in onnx.load(tmp_path / "low.onnx").graph.initializer}
    assert kinds["matrix.whole"] == onnx.TensorProto.INT4
    assert kinds["last.whole"] == onnx.TensorProto.INT8


def test_in_16_bits_only_caches_change_their_kind_for_those_outside(tmp_path: Path) -> None:
    source, feeds = step(tmp_path / "step.onnx")
    convert_precision(source, tmp_path / "low.onnx", "fp16", CACHE)
    graph = onnx.load(tmp_path / "low.onnx").graph
    halves = {one.name for one in (*graph.input, *graph.output) if one.type.tensor_type.elem_type == 10}
    assert halves == {"past_key", "present_key"}
    assert max(relative(source, tmp_path / "low.onnx", feeds).values()) < FEW["fp16"]
    convert_precision(source, tmp_path / "low.onnx", "fp16", {})
    assert all(one.type.tensor_type.elem_type == 1 for one in onnx.load(tmp_path / "low.onnx").graph.input)


SPECTRAL = """m (float[batch, 128] x) => (float[batch, 128] y, int64[batch] code, float[batch, 64] turn) {
  parts = MatMul(x, dft)
  power = Mul(parts, parts)
  bands = MatMul(power, filters)
  level = Log(bands)
  deep = MatMul(level, up)
  inner = MatMul(deep, down)
  far = MatMul(inner, codes)
  code = ArgMin<axis = 1, keepdims = 0>(far)
  back = MatMul(inner, matrix)
  size = Exp(back)
  y = MatMul(size, out)
  fast = Mul(level, speeds)
  angle = MatMul(fast, matrix)
  time = Mul(long, angle)
  turn = Cos(time)
}"""


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4", "web"])
def test_spectra_angles_and_distances_to_codes_stay_in_full_precision(tmp_path: Path, precision: Precision) -> None:
    source = written(
        tmp_path / "full.onnx", SPECTRAL, dft=1000 * normal(128, 128), filters=np.abs(normal(128, 64)),
        matrix=normal(64, 64) / 64, up=normal(64, 512) / 64, down=normal(512, 64) / 64,
        codes=normal(64, 100), speeds=np.full(64, 1e-5, np.float32),
        long=np.full(64, 1000, np.float32), out=normal(64, 128),
    )  # fmt: skip
    lowered = convert_precision(source, tmp_path / "low.onnx", precision, {})
    kept = {one.why: one.size for one in lowered.kept}
    assert kept[SPECTRUM] >= 4 * (128 * 128 + 128 * 64 + 64 * 128)
    assert kept[NEAREST] == 4 * 64 * 100
    feeds = {"x": 100 * normal(20, 128, seed=3)}
    full, low = GraphSession(source, 1)(feeds), GraphSession(tmp_path / "low.onnx", 1)(feeds)
    assert np.isfinite(low["y"]).all()
    if precision == "fp16":
        np.testing.assert_allclose(low["turn"], full["turn"], atol=2e-3)


FADING = """m (float[batch, time, 64] inputs_embeds, float[batch, 64] past_state)
  => (float[batch, time, 80] logits, float[batch, 64] present_state) {
  deep = MatMul(inputs_embeds, matrix)
  gone = CumSum(deep, axis)
  left = Exp(gone)
  held = Unsqueeze(past_state, axis)
  faded = Mul(left, held)
  present_state = ReduceSum<keepdims = 0>(faded, axes)
  even = RMSNormalization(faded, ones)
  logits = MatMul(even, last)
}"""


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4", "web"])
def test_what_comes_after_a_norm_is_lowered_and_what_fades_before_it_is_not(
    tmp_path: Path, precision: Precision
) -> None:
    """A Thinker with a state of fixed size: run token by token, and its state stays in full precision."""
    source = written(
        tmp_path / "full.onnx", FADING, matrix=-np.abs(normal(64, 64)) / 64, last=normal(64, 80), ones=np.ones(64, "f"),
        axis=np.array([1]), axes=np.array([1]),
    )  # fmt: skip
    lowered = convert_precision(source, tmp_path / "low.onnx", precision, {"past_state": "present_state"})
    assert lowered.precision == precision
    assert sum(one.size for one in lowered.kept) == 4 * 64  # the gains of the norm
    graph = onnx.load(tmp_path / "low.onnx").graph
    assert all(one.type.tensor_type.elem_type == 1 for one in (*graph.input, *graph.output))
    if precision in ("int8", "int4"):
        assert "DequantizeLinear" in operators(tmp_path / "low.onnx")
        assert "MatMulInteger" not in operators(tmp_path / "low.onnx")
    feeds = {"inputs_embeds": np.abs(normal(2, 3, 64, seed=1)), "past_state": normal(2, 64, seed=2)}
    assert max(relative(source, tmp_path / "low.onnx", feeds).values()) < FEW[precision]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4", "web"])
def test_what_would_be_no_smaller_is_copied(tmp_path: Path, precision: Precision) -> None:
    text = "m (float[batch, 64] x) => (float[batch, 64] y) { a = MatMul(x, matrix)  y = Log(a) }"
    source = written(tmp_path / "full.onnx", text, matrix=normal(64, 64))
    lowered = convert_precision(source, tmp_path / "low.onnx", precision, {})
    assert lowered.precision == "fp32"
    assert [one.why for one in lowered.kept] == ([] if precision == "fp32" else [NO_GAIN])
    assert (tmp_path / "low.onnx").read_bytes() == source.read_bytes()


def test_a_graph_may_be_lowered_in_its_place_and_says_what_it_does_not_multiply_with(tmp_path: Path) -> None:
    text = "m (float[batch, 64] x) => (float[batch, 64] y) { a = MatMul(x, matrix)  y = Add(a, bias) }"
    source = written(tmp_path / "one.onnx", text, matrix=normal(64, 64), bias=normal(64))
    size = source.stat().st_size
    lowered = convert_precision(source, source, "int8", {})
    assert source.stat().st_size == lowered.size < size
    assert [(one.size, one.why) for one in lowered.kept] == [(256, ADDED)]


@pytest.mark.parametrize(("rows", "bits"), [(256, 8), (224, 8), (90, 8), (64, 4), (90, 4)])
def test_whole_numbers_are_the_nearest(rows: int, bits: int) -> None:
    values = normal(rows, 10)
    values[:, 3] = 0
    size = block_of(rows, {8: 128, 4: 32}[bits])
    whole, scales = in_blocks(values, bits, size)
    assert whole.shape == values.shape
    assert scales.shape == (-(-rows // size), 10)
    spread = np.repeat(scales, size, axis=0)[:rows]
    wrong = np.abs(whole * spread - values) / np.abs(spread)
    assert wrong.max() <= 0.501 if bits == 8 else np.mean(wrong <= 0.501) > 0.9, "4 bits may cut the largest off"
    assert not whole[:, 3].any()


def test_a_column_has_a_scale_of_its_own() -> None:
    values = normal(50, 3) * np.array([1, 1000, 1e-6], np.float32)
    whole, scales = in_columns(values)
    np.testing.assert_allclose(whole * scales, values, atol=0, rtol=1, equal_nan=False)
    assert np.abs(whole).max(axis=0).tolist() == [127, 127, 127]


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_what_is_multiplied_is_never_cut_off(tmp_path: Path, rows: int) -> None:
    """Large numbers times large numbers: x86 CPUs without VNNI add two products up in 16 bits, if they are let."""
    text = "m (float[batch, 256] x) => (float[batch, 128] y) { y = MatMul(x, matrix) }"
    matrix = np.abs(normal(256, 128)) + 1
    source = written(tmp_path / "full.onnx", text, matrix=matrix)
    assert convert_precision(source, tmp_path / "low.onnx", "int8", {}).precision == "int8"
    assert "MatMulInteger" in operators(tmp_path / "low.onnx")
    x = np.ones((rows, 256), np.float32)
    assert relative(source, tmp_path / "low.onnx", {"x": x})["y"] < 0.01


def test_four_bits_are_packed_as_onnx_has_them(tmp_path: Path) -> None:
    source, _ = step(tmp_path / "step.onnx")
    convert_precision(source, tmp_path / "low.onnx", "int4", CACHE)
    bundle = next(one for one in onnx.load(tmp_path / "low.onnx").graph.initializer if one.name == "matrix.whole")
    whole, _ = in_blocks(normal(64, 64), 4, 32)
    np.testing.assert_array_equal(numpy_helper.to_array(bundle).astype(np.int8), whole)


def test_it_needs_no_pytorch() -> None:
    script = "import sys, muomni_onnx.precision; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
