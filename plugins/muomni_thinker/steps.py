"""What ``muomni trace`` shows of the transformer, in words; the numbers are measured."""

from __future__ import annotations

from muomni_cli.api import Step
from muomni_thinker.model import Transformer


def steps(module: Transformer) -> list[Step]:
    """From ids, or embeddings, to logits. The first layer in detail; the others do the same."""
    count = len(module.blocks)
    return [
        Step(
            at="tok_emb",
            title="token embedding",
            what="each id picks its row of a table",
            counts=lambda a, b: f"{_many(a[1], 'id')} -> {_many(b[1], 'embedding')}",
        ),
        _block(0, count),
        *_inside(module),
        *(_block(number, count) for number in range(1, count)),
        Step(at="norm", title="final norm", what="RMSNorm"),
        Step(
            at="read_out",
            title="head",
            what="a score for each token of the vocabulary, at every place",
            counts=lambda a, b: f"{_many(a[1], 'token')} -> {b[1]:,} x {b[2]:,} logits",
        ),
    ]


def _block(number: int, count: int) -> Step:
    return Step(
        at=f"blocks.{number}",
        title=f"block {number + 1} of {count}",
        what="attention, then an MLP, each on a normalised copy and added to the stream",
        counts=lambda a, b: f"{_many(a[1], 'token')} -> {_many(b[1], 'token')}",
    )


def _inside(module: Transformer) -> list[Step]:
    config = module.config
    return [
        Step(at="blocks.0.attention_norm", title="norm", what="RMSNorm"),
        Step(
            at="blocks.0.attention",
            title="attention",
            what="every token gathers from itself and those before it",
            counts=lambda a, _: f"{config.n_heads} heads, scores of {a[1]} x {a[1]}",
        ),
        Step(
            at="blocks.0.attention.project",
            title="queries, keys, values",
            what="one linear layer, cut into heads; queries and keys are turned by their position (RoPE)",
            counts=_positions,
        ),
        Step(
            at="blocks.0.attention.attend",
            title="mixing",
            what="softmax of queries times keys weighs the values",
            counts=lambda a, _: f"{a[1]} heads x {a[2]} tokens",
        ),
        Step(at="blocks.0.mlp_norm", title="norm", what="RMSNorm"),
        Step(at="blocks.0.mlp", title="MLP", what=f"SwiGLU of inner width {config.d_ff}, each token by itself"),
    ]


def _positions(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    return f"{_many(before[1], 'token')} at positions 0 to {before[1] - 1}, {after[1]} heads of {after[3]}"


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count > 1)}"
