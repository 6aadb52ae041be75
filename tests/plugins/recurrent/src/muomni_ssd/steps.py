"""What ``muomni trace`` shows of the Thinker, in words; the numbers are measured."""

from __future__ import annotations

from muomni_cli.api import Step
from muomni_ssd.model import SSDThinker


def steps(module: SSDThinker) -> list[Step]:
    """From ids, or embeddings, to logits. The first layer in detail; the others do the same."""
    config, count = module.config, len(module.blocks)
    state = f"{config.n_heads} heads, a state of {config.d_state} x {config.d_model} in all, whatever was read"
    blocks = [
        Step(
            at=f"blocks.{number}",
            title=f"block {number + 1} of {count}",
            what="memory, then an MLP, each on a normalised copy and added to the stream",
        )
        for number in range(count)
    ]
    return [
        Step(at="tok_emb", title="token embedding", what="each id picks its row of a table"),
        blocks[0],
        Step(at="blocks.0.memory_norm", title="norm", what="RMSNorm"),
        Step(
            at="blocks.0.memory",
            title="memory",
            what="every token reads a state that fades, and writes to it",
            counts=lambda a, _: f"{a[1]} tokens, {state}",
        ),
        Step(
            at="blocks.0.memory.look_back",
            title="convolution",
            what="values, keys and queries see the tokens just before",
            counts=lambda a, _: f"{a[1]} tokens, {config.d_conv} at a time",
        ),
        Step(at="blocks.0.mlp", title="MLP", what=f"SwiGLU of inner width {config.d_ff}, each token by itself"),
        *blocks[1:],
        Step(at="norm", title="final norm", what="RMSNorm"),
        Step(
            at="read_out",
            title="head",
            what="a score for each token of the vocabulary, at every place",
            counts=lambda a, b: f"{a[1]:,} tokens -> {b[1]:,} x {b[2]:,} logits",
        ),
    ]
