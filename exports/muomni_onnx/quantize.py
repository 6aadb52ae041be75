"""Weights in 8 or 4 bits, in standard ONNX operators.

A matrix is stored as integers with scales, in one of three forms:

- *blocks*: a scale per column and block of rows, and a DequantizeLinear before the product. onnxruntime fuses the two
  into one operator (MatMulNBits) that reads the integers, which is what one step of a decoder costs.
- *columns*: a scale per column; the activations are quantized dynamically (DynamicQuantizeLinear), and the product is
  of integers (MatMulInteger): with many rows up to twice as fast as blocks on a CPU with VNNI.
- *opened*: as blocks, but scaled by operators on constants, which onnxruntime runs once, when a session opens. The file
  is as small, memory and speed are those of fp32: for WebAssembly, whose integer kernels are slower than those.

A lookup table has a scale per row, and only rows that are looked up are scaled. Weights of convolutions have a scale
per channel and are scaled once, when a session opens: they are small on disk only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from muomni_onnx.graph_edit import GraphEditor

# Rows per scale, by bits, where they divide the rows of a matrix. With more than 64 in 8 bits, the kernel of one row
# sums blocks in another order than that of many rows.
BLOCK = {8: 64, 4: 32}
SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8)  # scales tried at 4 bits, relative to the one that fits the largest value


class Quantizer:
    """Replaces nodes of ``graph`` by others with smaller weights. A weight used by several nodes is quantized once."""

    def __init__(self, graph: GraphEditor) -> None:
        self.graph = graph
        self._made: dict[tuple[str, str], tuple[str, ...]] = {}
        self._inputs: dict[str, tuple[str, ...]] = {}

    def blocks(self, node: Any, bits: int) -> list[Any]:
        """A MatMul whose matrix is stored in ``bits`` bits, in blocks."""
        key = (node.input[1], f"{bits} bits")
        before: list[Any] = []
        if key not in self._made:
            values = self.graph.array(node.input[1])
            size = block_of(len(values), BLOCK[bits])
            whole, scales = in_blocks(values, bits, size)
            out = self.graph.name(f"{key[0]}.wide")
            if bits == 8:
                names = self._constants(key[0], whole=whole, scales=scales)
            else:  # numpy has no such type: pairs in one byte, the first in the low bits
                pairs = (whole.reshape(-1, 2) & 15).astype(np.uint8)
                raw, name = (pairs[:, 0] | pairs[:, 1] << 4).tobytes(), self.graph.name(f"{key[0]}.whole")
                tensor = onnx.TensorProto(name=name, data_type=TensorProto.INT4, dims=whole.shape, raw_data=raw)
                names = (self.graph.tensor(tensor), *self._constants(key[0], scales=scales))
            before = [helper.make_node("DequantizeLinear", names, [out], axis=0, block_size=size)]
            self._made[key] = (out,)
        return [*before, helper.make_node("MatMul", [node.input[0], self._made[key][0]], node.output, node.name)]

    def columns(self, node: Any) -> list[Any]:
        """A MatMul of integers."""
        key = (node.input[1], "columns")
        if key not in self._made:
            whole, scales = in_columns(self.graph.array(key[0]))
            self._made[key] = self._constants(key[0], zeros=np.zeros(len(scales), np.int8), whole=whole, scales=scales)
        zeros_name, whole_name, scales_name = self._made[key]
        before: list[Any] = []
        given = node.input[0]
        if given not in self._inputs:
            self._inputs[given] = tuple(self.graph.name(f"{given}.{what}") for what in ("whole", "scale", "zero"))
            before = [helper.make_node("DynamicQuantizeLinear", [given], list(self._inputs[given]))]
        rows, scale, zero = self._inputs[given]
        product, wide, both = (self.graph.name(f"{node.output[0]}.{what}") for what in ("whole", "wide", "scale"))
        return [
            *before,
            helper.make_node("MatMulInteger", [rows, whole_name, zero, zeros_name], [product]),
            helper.make_node("Cast", [product], [wide], to=TensorProto.FLOAT),
            helper.make_node("Mul", [scale, scales_name], [both]),
            helper.make_node("Mul", [wide, both], node.output, node.name),
        ]

    def opened(self, node: Any) -> list[Any]:
        """A MatMul whose matrix is stored in 8 bits, in blocks, and scaled when a session opens."""
        key = (node.input[1], "opened")
        before: list[Any] = []
        if key not in self._made:
            values = self.graph.array(key[0])
            rows, columns = values.shape
            size = block_of(rows, BLOCK[8])
            size = size if rows % size == 0 else rows
            whole, scales = in_blocks(values, 8, size)
            names = self._constants(key[0], whole=whole.reshape(-1, size, columns), scales=scales[:, None])
            shape = self.graph.constant(f"{key[0]}.shape", np.array(values.shape))
            wide, scaled, out = (self.graph.name(f"{key[0]}.{what}") for what in ("wide", "scaled", "opened"))
            before = [
                helper.make_node("Cast", [names[0]], [wide], to=TensorProto.FLOAT),
                helper.make_node("Mul", [wide, names[1]], [scaled]),
                helper.make_node("Reshape", [scaled, shape], [out]),
            ]
            self._made[key] = (out,)
        return [*before, helper.make_node("MatMul", [node.input[0], self._made[key][0]], node.output, node.name)]

    def halved(self, name: str) -> tuple[str, list[Any]]:
        """The name of a constant stored in 16-bit floats, once widened, and the node that widens it."""
        key = (name, "halved")
        if key in self._made:
            return self._made[key][0], []
        (half,) = self._constants(name, half=self.graph.array(name).astype(np.float16))
        out = self.graph.name(f"{name}.wide")
        self._made[key] = (out,)
        return out, [helper.make_node("Cast", [half], [out], to=TensorProto.FLOAT)]

    def table(self, node: Any) -> list[Any]:
        """A Gather from a table of integers."""
        key = (node.input[0], "rows")
        if key not in self._made:
            whole, scales = in_columns(self.graph.array(key[0]).T)
            self._made[key] = self._constants(key[0], whole=whole.T, scales=scales[:, None])
        whole_name, scales_name = self._made[key]
        rows, wide, scale = (self.graph.name(f"{node.output[0]}.{what}") for what in ("whole", "wide", "scale"))
        return [
            helper.make_node("Gather", [whole_name, node.input[1]], [rows], axis=0),
            helper.make_node("Cast", [rows], [wide], to=TensorProto.FLOAT),
            helper.make_node("Gather", [scales_name, node.input[1]], [scale], axis=0),
            helper.make_node("Mul", [wide, scale], node.output, node.name),
        ]

    def stored(self, name: str) -> tuple[str, list[Any]]:
        """The name of a constant stored as integers, once scaled, and the nodes that scale it."""
        key = (name, "stored")
        if key in self._made:
            return self._made[key][0], []
        values = self.graph.array(name)
        whole, scales = in_columns(values.reshape(len(values), -1).T)
        whole, scales = whole.T.reshape(values.shape), scales.reshape(-1, *[1] * (values.ndim - 1))
        whole_name, scales_name = self._constants(name, whole=whole, scales=scales)
        wide, out = self.graph.name(f"{name}.wide"), self.graph.name(f"{name}.scaled")
        self._made[key] = (out,)
        return out, [
            helper.make_node("Cast", [whole_name], [wide], to=TensorProto.FLOAT),
            helper.make_node("Mul", [wide, scales_name], [out]),
        ]

    def _constants(self, name: str, **arrays: NDArray[Any]) -> tuple[str, ...]:
        return tuple(self.graph.constant(f"{name}.{what}", array) for what, array in arrays.items())


def block_of(rows: int, most: int) -> int:
    """The largest power of two, from ``most`` down to 16, that divides ``rows``; else ``most``."""
    return next((most >> n for n in range(most.bit_length()) if most >> n >= 16 and rows % (most >> n) == 0), most)


def in_blocks(values: NDArray[np.float32], bits: int, size: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(K,N) values -> (K,N) integers and (K/size, N) scales; the last block may be short."""
    rows, columns = values.shape
    count = -(-rows // size)
    padded = np.zeros((count * size, columns), np.float32)
    padded[:rows] = values
    blocks = padded.reshape(count, size, columns)
    scales = _best(blocks, bits)
    whole = _rounded(blocks, scales[:, None], bits)
    return whole.reshape(-1, columns)[:rows], scales


def in_columns(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(K,N) values -> (K,N) 8-bit integers and (N,) scales."""
    scales = _fitting(np.abs(values).max(axis=0), 127)
    return _rounded(values, scales, 8), scales


def _best(blocks: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """(n,size,N) values -> (n,N) scales. 8 bits: the largest value fits. 4 bits: the least squared error of several
    scales, so the largest value may be clipped; the scale is negative where that value is above 0, since integers reach
    one further below 0."""
    if bits == 8:
        return _fitting(np.abs(blocks).max(axis=1), 127)
    place = np.abs(blocks).argmax(axis=1)[:, None]
    largest = -np.take_along_axis(blocks, place, axis=1)[:, 0]
    best = _fitting(largest, 8)
    least: NDArray[np.float32] = np.full(best.shape, np.inf, np.float32)
    for shrink in SHRINK:
        scales = _fitting(largest * np.float32(shrink), 8)
        wrong = _rounded(blocks, scales[:, None], 4) * scales[:, None] - blocks
        error: NDArray[np.float32] = np.einsum("nkc,nkc->nc", wrong, wrong)
        best = np.where(error < least, scales, best)
        least = np.minimum(error, least)
    return best


def _fitting(largest: NDArray[np.float32], top: int) -> NDArray[np.float32]:
    return np.where(largest == 0, np.float32(1), largest / np.float32(top)).astype(np.float32)


def _rounded(values: NDArray[np.float32], scales: NDArray[np.float32], bits: int) -> NDArray[np.int8]:
    """8 bits: -127 to 127; 4 bits: -8 to 7."""
    low, high = (-127, 127) if bits == 8 else (-8, 7)
    whole: NDArray[np.int8] = np.clip(np.rint(values / scales), low, high).astype(np.int8)
    return whole
