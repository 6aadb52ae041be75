"""Export graphs of the Talkers (characters to features, features to plan, plan to states, states to codes), and steps
for ``muomni trace``.

Shapes: B batch, S symbols, T frames, W and D widths, Q codebooks, K codes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import FunctionGraph, cached_graph, filled, grow, held_by
from muomni_cli.nn.transformer import Span, Stack
from muomni_talker.model import Alignment, CodeHeads, CursorTalker, LengthRegulator, TalkerBase, TextEncoder
from muomni_talker.text_normalization import written_form


def read(reader: TextEncoder, ids: Tensor, voice: Tensor, *thoughts: Tensor) -> tuple[Tensor, ...]:
    """(B,S) symbols, (B,) voices and optional (B,S,Dh) Thinker states -> (B,S,W) features, (B,S) durations in slots."""
    features = reader(ids, voice, *thoughts)
    return features, reader.expected(features)


def regulate(framer: LengthRegulator, features: Tensor, symbol: Tensor, elapsed: Tensor, left: Tensor) -> tuple[Tensor]:
    """(B,S,W) features, and (B,T,slots) symbol, elapsed and left of each slot -> (B,T,D) plan."""
    return (framer(features, Alignment(symbol.flatten(1), elapsed.flatten(1), left.flatten(1))),)


def step(talker: CursorTalker, before: Tensor, plan: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
    """(B,T,Q) codes of the previous frames, (B,T,D) plan and the cache -> (B,T,D) states and the cache."""
    for q, table in enumerate(talker.history):
        plan = plan + table(before[..., q])
    states, present = grow(talker.stack, plan, past)
    return states, *present


def full_sequence(stack: Stack, plan: Tensor) -> tuple[Tensor]:
    """(B,T,D) plan of whole sentences -> (B,T,D) states, with bidirectional attention."""
    places = torch.arange(plan.shape[1], device=plan.device)
    span = Span(stack.rope_cos[places], stack.rope_sin[places], None, causal=False, cache=None)
    for block in stack.blocks:
        plan = block(plan, span)
    return (stack.norm(plan),)


def code_logits(heads: CodeHeads, states: Tensor, *codes: Tensor, number: int) -> tuple[Tensor]:
    """(B,D) states and, except for the first head, the (B,q) previous codes -> (B,K) logits of head ``number``."""
    return (heads.heads[number](heads.given(states, number, codes[0]) if codes else states),)


def graphs(module: TalkerBase) -> list[Graph]:
    decoder = _step(module) if isinstance(module, CursorTalker) else _whole(module)
    return [_reader(module), _framer(module), decoder, *(_head(module, q) for q in range(module.codes.codebooks))]


def _reader(module: TalkerBase) -> Graph:
    heard = module.thinker_width
    return Graph(
        name="reader",
        module=FunctionGraph(module.reader, read),
        inputs=[
            GraphInput("ids", ("batch", "symbols"), GraphInput.below(written_form.COUNT)),
            GraphInput("voice", ("batch",), GraphInput.below(max(1, len(module.voices)))),
            *([GraphInput("thoughts", ("batch", "symbols", heard))] if heard else []),
        ],
        outputs=["features", "durations"],
        cases={
            "traced": {"batch": 2, "symbols": 9},
            "one symbol": {"batch": 1, "symbols": 1},
            "a long sentence": {"batch": 3, "symbols": 200},
        },
    )


def _framer(module: TalkerBase) -> Graph:
    config = module.config
    slots = ("batch", "frames", config.subframes)
    return Graph(
        name="framer",
        module=FunctionGraph(module.framer, regulate),
        inputs=[
            GraphInput("features", ("batch", "symbols", config.d_text)),
            GraphInput("symbol", slots, GraphInput.below(2)),  # every case has at least two symbols
            GraphInput("elapsed", slots, GraphInput.below(2 * config.max_duration)),
            GraphInput("left", slots, GraphInput.below(2 * config.max_duration)),
        ],
        outputs=["plan"],
        cases={
            "traced": {"batch": 2, "frames": 5, "symbols": 7},
            "one frame": {"batch": 1, "frames": 1, "symbols": 2},
            "a long sentence": {"batch": 1, "frames": 100, "symbols": 200},
        },
    )


def _step(module: CursorTalker) -> Graph:
    config = module.config

    def reference(before: Tensor, plan: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = filled(module.stack, past, plan.shape[1])
        return module.states(before, plan, cache), *held_by(cache, past)

    codes = GraphInput("before", ("batch", "time", module.codes.codebooks), GraphInput.below(module.codes.size))
    inputs = [codes, GraphInput("plan", ("batch", "time", config.d_model))]
    return cached_graph("step", config, FunctionGraph(module, step), inputs, ["states"], reference)


def _whole(module: TalkerBase) -> Graph:
    def reference(plan: Tensor) -> tuple[Tensor, ...]:
        before = torch.zeros(*plan.shape[:2], module.codes.codebooks, dtype=torch.long)
        return (module.states(before, plan),)

    return Graph(
        name="whole",
        module=FunctionGraph(module.stack, full_sequence),
        inputs=[GraphInput("plan", ("batch", "frames", module.config.d_model))],
        outputs=["states"],
        cases={
            "traced": {"batch": 2, "frames": 5},
            "one frame": {"batch": 1, "frames": 1},
            "whole context": {"batch": 1, "frames": module.config.ctx_len},
        },
        reference=reference,
    )


def _head(module: TalkerBase, number: int) -> Graph:
    given = [GraphInput("codes", ("batch", number), GraphInput.below(module.codes.size))] if number else []
    return Graph(
        name=f"head{number}",
        module=FunctionGraph(module.heads, partial(code_logits, number=number)),
        inputs=[GraphInput("states", ("batch", module.config.d_model)), *given],
        outputs=["logits"],
        cases={"traced": {"batch": 3}, "one frame": {"batch": 1}},
    )


def steps(module: TalkerBase) -> list[Step]:
    """From characters to codes. The parallel Talker draws codes outside of its modules; that step is not shown."""
    slots = module.config.subframes
    drawn = Step(
        at="heads.draw",
        title="codes",
        what="the base code, then each residual code given those before it",
        counts=lambda a, b: f"1 state of {a[0]} -> {_many(b[0], 'code')}",
    )
    return [
        Step(
            at="reader",
            title="characters",
            what=f"convolutions over {module.config.reach} characters to either side",
            counts=lambda a, b: f"{_many(a[1], 'symbol')} -> {_many(b[1], 'feature')} of {b[2]}",
        ),
        Step(
            at="reader.expected",
            title="durations",
            what=f"duration of each symbol in slots, {slots} per frame",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'duration')}",
        ),
        Step(
            at="framer",
            title="plan",
            what="conditioning of each frame: the features of its symbols, by monotonic alignment",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'frame')} of {b[2]}",
        ),
        Step(
            at="states",
            title="transformer",
            what="the previous frames and the plan" if module.causal else "the plan of all frames at once",
            counts=lambda a, b: f"{_many(a[1], 'frame')} -> {_many(b[1], 'state')} of {b[2]}",
        ),
        *([drawn] if module.causal else []),
    ]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
