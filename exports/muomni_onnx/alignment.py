"""Which rows may share a call without a change in one bit of what each gives.

onnxruntime sums a row of a product of matrices in an order that may depend on the number of rows, and a row of an
attention in one that depends on the places before it. In floats that is the last bit of a sum. Where activations are
quantized, it is a hundredth of a logit as soon as the bit turns a rounding. Which numbers of rows and places give the
same order depends on the kernels, which differ by CPU, so it is tried here with the graph itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from muomni_onnx.backend import OnnxBackend
from muomni_onnx.in_place import InPlaceBackend

ROWS = (0, 1, 3, 2, 7)  # lengths that are tried together, in alignments; an odd number of rows
STEPS = 5
SHORTEST = 6  # tokens
SEED = 0


def alignment_of(make: Callable[[], OnnxBackend | InPlaceBackend], vocabulary: int) -> int | None:
    """The least number for which rows whose numbers of tokens are equal modulo it give together what each gives alone,
    to the bit; None if none of the backend's ``alignments`` does. 1 if states have a fixed size or rows of different
    lengths do not share a call.

    Args:
        make: a new backend over the same graphs.
        vocabulary: number of tokens.
    """
    for alignment in make().alignments:
        if _equal(make, vocabulary, alignment):
            return alignment
    return None


def _equal(make: Callable[[], OnnxBackend | InPlaceBackend], vocabulary: int, alignment: int) -> bool:
    random = np.random.default_rng(SEED)
    backend = make()
    steps = min(STEPS, backend.context - 1)
    longest = backend.context - steps
    lengths = [min(SHORTEST, longest) + alignment * times for times in ROWS]
    lengths = [length if length <= longest else lengths[0] for length in lengths]
    prompts = [random.integers(0, vocabulary, length).tolist() for length in lengths]
    tokens = random.integers(0, vocabulary, (steps, len(ROWS)))
    alone = []
    for row, prompt in enumerate(prompts):
        held: Any = backend.begin([prompt], backend.context)[0]
        alone.append([backend.step(held, tokens[step, row : row + 1])[0] for step in range(steps)])
    begun: Any = [backend.begin([prompt], backend.context)[0] for prompt in prompts]
    state: Any = backend.merge(begun)
    together = [backend.step(state, tokens[step]) for step in range(steps)]
    return all(np.array_equal(logits, [row[step] for row in alone]) for step, logits in enumerate(together))
