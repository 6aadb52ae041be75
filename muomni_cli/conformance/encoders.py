"""Conformance checks of encoders (:class:`muomni_cli.api.Encoder`, :class:`muomni_cli.api.EncoderPart`). Imports torch.

Inputs come from ``bench_inputs``, truncated where tokens are in order of time. Shapes: B batch, T tokens, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from muomni_cli.conformance.common import SEED
from muomni_cli.conformance.modules import by_heart, one_step, require_shape, same, shape
from muomni_cli.contract.checks import Check, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import EncoderPart

FEW = 16  # approximate number of tokens of a truncated input
Array = NDArray[Any]


def inputs_of(subject: PartUnderTest) -> list[Array]:
    """Three different inputs as ``read`` returns them, of unequal lengths if possible. CheckSkipped if the declaration
    has no ``bench_inputs``."""
    return subject.once("inputs", lambda: _inputs(subject))


def _inputs(subject: PartUnderTest) -> list[Array]:
    part = subject.part
    assert isinstance(part, EncoderPart), "checks run on their own kind"
    given = list(subject.find("bench_inputs")(subject.config).values())
    check_that(bool(given), "bench_inputs gives nothing")
    whole = min(given, key=lambda array: array.size)
    if part.truncatable:
        while count(subject, whole) > FEW and count(subject, whole[: len(whole) // 2]) > 2:
            whole = whole[: len(whole) // 2]
    lengths = [len(whole)]
    if part.truncatable:
        lengths += [n for n in (len(whole) * 3 // 5, len(whole) * 2 // 5 + 1) if count(subject, whole[:n]) >= 1]
    random = np.random.default_rng(SEED)
    flat = whole.reshape(-1)
    shuffled = [whole, *(random.permutation(flat).reshape(whole.shape) for _ in range(2))]
    return [array[: lengths[row % len(lengths)]].copy() for row, array in enumerate(shuffled)]


def count(subject: PartUnderTest, array: Array) -> int:
    """Number of tokens that the declaration predicts for an input."""
    return int(subject.find("num_tokens")(subject.config, array))


def batch_of(arrays: Sequence[Array], longer: int = 0) -> tuple[Tensor, list[int]]:
    """Inputs padded to a batch (B, ...) as in training, and their lengths."""
    lengths = [len(array) for array in arrays]
    rows = np.zeros((len(arrays), max(lengths) + longer, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(rows), lengths


def alone(subject: PartUnderTest, array: Array) -> Tensor:
    """Valid tokens (T,W) of a single input."""
    output = subject.lively(torch.from_numpy(array)[None])
    return output.tokens[0, : output.lengths[0]]  # type: ignore[no-any-return]


def outputs(subject: PartUnderTest, module: Any) -> list[Tensor]:
    return [module(torch.from_numpy(array)[None]).tokens for array in inputs_of(subject)]


@torch.no_grad()
def shapes(subject: PartUnderTest) -> Sequence[Number]:
    encoder = subject.lively
    for array in inputs_of(subject):
        output = encoder(torch.from_numpy(array)[None])
        name = f"tokens of an input of {array.shape}"
        check_that(output.tokens.ndim == 3, f"{name} are {shape(output.tokens)}, not (B, T, W)")
        require_shape(output.tokens, (1, output.tokens.shape[1], encoder.width), name)
        check_that(output.tokens.is_floating_point(), f"{name} are {output.tokens.dtype}")
        check_that(len(output.lengths) == 1, f"there are {len(output.lengths)} lengths for one input")
        check_that(1 <= output.lengths[0] <= output.tokens.shape[1], f"{output.lengths[0]} of {name} are valid")
    return [Number("width", encoder.width)]


@torch.no_grad()
def counts(subject: PartUnderTest) -> Sequence[Number]:
    arrays = inputs_of(subject)
    promised = [count(subject, array) for array in arrays]
    made = [len(alone(subject, array)) for array in arrays]
    batch, lengths = batch_of(arrays)
    together = list(subject.lively(batch, lengths).lengths)
    for array, one, other, third in zip(arrays, promised, made, together, strict=True):
        predicted = f"num_tokens predicts {one} tokens for an input of {array.shape}"
        check_that(one == other, f"{predicted}, but there are {other}")
        check_that(one == third, f"{predicted}, but in a batch {third} are valid")
    return [Number("tokens", sum(promised))]


@torch.no_grad()
def padding(subject: PartUnderTest) -> Sequence[Number]:
    """One input with growing padding of zeros and of noise."""
    arrays = inputs_of(subject)
    if len({len(array) for array in arrays}) == 1:
        raise CheckSkipped("all inputs have the same size")
    array = min(arrays, key=len)
    wanted = alone(subject, array)
    made, where = [], []
    for longer in (1, len(array) // 2, len(array)):
        for fill in ("zeros", "noise"):
            rows, lengths = batch_of([array], longer)
            if fill == "noise":
                noise = np.random.default_rng(SEED).permutation(array.reshape(-1)).reshape(array.shape)
                rows[0, len(array) :] = torch.from_numpy(noise[:longer].copy())
            made.append(subject.lively(rows, lengths).tokens[0, : len(wanted)])
            where.append(f"{longer} of {fill} after {len(array)}")
    return [same(made, [wanted] * len(made), where)]


@torch.no_grad()
def batch(subject: PartUnderTest) -> Sequence[Number]:
    arrays = inputs_of(subject)
    rows, lengths = batch_of(arrays)
    tokens = subject.lively(rows, lengths).tokens
    wanted = [alone(subject, array) for array in arrays]
    made = [tokens[b, : len(one)] for b, one in enumerate(wanted)]
    return [same(made, wanted, [f"row {b} of {len(arrays)}" for b in range(len(arrays))])]


def loss_of(subject: PartUnderTest) -> Any:
    """Loss of a fixed random linear probe on mean tokens that classifies which input of the batch it sees."""
    rows, lengths = batch_of(inputs_of(subject))
    probe = torch.randn(subject.lively.width, len(rows), generator=torch.Generator().manual_seed(SEED))

    def loss(encoder: Any) -> Tensor:
        output = encoder(rows, lengths)
        means = [output.tokens[b, :length].float().mean(0) for b, length in enumerate(output.lengths)]
        scores = torch.stack(means) @ probe / probe.shape[0] ** 0.5
        return F.cross_entropy(scores, torch.arange(len(rows)))

    return loss


CHECKS = (
    Check(name="shapes", doc="tokens are (B,T,W), and at least one of them is valid", run=shapes,
        declares="bench_inputs", depends_on=("builds",)),
    Check(name="num_tokens", doc="num_tokens predicts the number of tokens from the shape of the input", run=counts,
        declares="bench_inputs", depends_on=("shapes",)),
    Check(name="padding", doc="output does not depend on padding", run=padding, declares="bench_inputs",
        depends_on=("repeats", "num_tokens")),
    Check(name="batch", doc="a batch gives the same output as its inputs one by one", run=batch,
        declares="bench_inputs", depends_on=("repeats", "padding")),
    Check(name="trains", doc="gradients reach the weights through a linear probe, and one step changes the loss",
        run=lambda subject: one_step(subject.fresh, loss_of(subject)), declares="bench_inputs",
        depends_on=("shapes", "num_tokens")),
    Check(name="overfits", doc="with a fixed linear probe it learns to tell the inputs of a batch apart",
        run=lambda subject: by_heart(subject.fresh, loss_of(subject)), declares="bench_inputs",
        depends_on=("trains",)),
)  # fmt: skip
