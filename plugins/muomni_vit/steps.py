"""What ``muomni trace`` shows of the vision transformer, in words; the numbers are measured."""

from __future__ import annotations

from math import prod

from muomni_cli.api import Step
from muomni_vit.model import Vit


def steps(module: Vit) -> list[Step]:
    """From pixels to tokens."""
    config = module.config
    side = config.patch
    made = f"a convolution of {side} x {side}, stride {side}, makes each patch one vector"
    if config.stem == "conv":
        made = f"{side.bit_length() - 1} convolutions of 3 x 3, stride 2, and a linear map make each patch one vector"
    found = [
        Step(
            at="patches",
            title="patch embedding",
            what=f"less the mean colour; {made}",
            counts=lambda a, b: f"{prod(a[1:]):,} pixels -> {prod(b[2:]):,} patches",
        ),
        Step(
            at="in_rows",
            title="reshape",
            what="the grid becomes a sequence, row by row",
            counts=lambda a, b: f"{a[2]} x {a[3]} patches -> {b[1]:,} patches",
        ),
        Step(
            at="add_cls",
            title="CLS token",
            what="puts a learned vector before the patches, to gather what the picture holds",
            counts=lambda a, b: f"{a[1]:,} patches -> {b[1]:,} tokens",
        ),
    ]
    if module.pos is not None:
        found.append(Step(at="add_positions", title="positions", what="adds the learned vector of each place"))
    found += [_block(module, number) for number in range(len(module.blocks))]
    if module.pool is not None:
        found.append(
            Step(
                at="pooled",
                title="pooling",
                what=f"means of squares of patches, on a grid of {config.tokens} x {config.tokens}",
                counts=lambda a, b: f"{a[1]:,} patches -> {b[1]:,} tokens",
            )
        )
    return [*found, Step(at="norm", title="final norm", what="LayerNorm")]


def _block(module: Vit, number: int) -> Step:
    """One layer. The last makes CLS alone if nothing else is wanted: extracting it costs nothing then."""
    turned = "" if module.pos is not None else ", turned by row and column (2-D RoPE)"
    what = f"every token looks at all tokens{turned}, then an MLP, each added to its input"
    if module.config.tokens == "cls" and number == len(module.blocks) - 1:
        what += "; extracts CLS: the last layer computes no other token"
    return Step(
        at=f"blocks.{number}",
        title=f"block {number + 1} of {len(module.blocks)}",
        what=what,
        counts=lambda a, b: f"{a[1]:,} tokens -> {b[1]:,} token{'s' * (b[1] > 1)}",
    )
